//! The whole system, as its users, its operator and its auditors meet it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and run on real clocks"
)]

#[path = "suite/mod.rs"]
mod suite;
