"""A second verifier of Countersign exports, written from docs/spec alone (decision 0018)."""
