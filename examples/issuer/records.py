"""What the records of an export say of their callers, read by the second verifier's reader.

    python records.py EXPORT        one line of JSON for each settled call

Whether the export is genuine is for `countersign-verify`, which judges the same file.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "verifier/independent"))
from countersign_independent import calls, cbor, cose, export, schema  # noqa: E402

TOKEN, PROOF = 1, 2
ISSUER, DIGEST, CLIENT, SUBJECT, SCOPES, AUDIENCE = 1, 4, 6, 7, 9, 10


def settled(stream):
    """Decisions, each with what opens its commitments. What an intent opened, its decision does not open again."""
    entry, opened, decisions = None, {}, []
    for kind, content, _ in export.items(stream):
        if kind == export.ENTRY:
            entry = cose.entry(content)[2]
            if entry.kind == "decision":
                decisions.append(entry.body)
        elif kind == export.DISCLOSURES and entry.kind in ("intent", "decision"):
            found = {one.field: one.value for one in schema.parse(content, schema.disclosures)}
            opened.setdefault(entry.body.call, {}).update(found)
    return [(body, opened.get(body.call, {})) for body in decisions]


def said(body, opened) -> dict:
    """Who called, and for whom."""
    claims = cbor.whole(opened[calls.CLAIMS])
    token = claims[TOKEN]
    return {
        "capability": body.capability.id,
        "code": body.code,
        "assurance": body.caller.assurance,
        "agent": opened[calls.AGENT].decode(),
        "user": opened[calls.USER].decode() if calls.USER in opened else None,
        "proof": PROOF in claims,
        "issuer": token[ISSUER],
        "token": token[DIGEST].hex(),
        "client": token[CLIENT],
        "subject": token[SUBJECT],
        "scopes": token[SCOPES],
        "audience": token[AUDIENCE],
    }


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        for one in settled(file):
            print(json.dumps(said(*one)))
