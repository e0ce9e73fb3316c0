//! The whole system, as its users, its operator and its auditors meet it.

#[path = "suite/mod.rs"]
mod suite;
