//! Tokens that hold, and tokens that do not.

#[path = "../common/mod.rs"]
mod common;

mod accepted;
mod refused;
