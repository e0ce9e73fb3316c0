//! The stages together, with a real compiled bundle and a log in memory.
#![expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]

mod approvals;
mod callers;
mod errors;
mod fold;
mod issued;
mod order;
mod outcomes;
mod redaction;
mod refusals;
mod repeats;
mod requests;
mod spending;
mod stops;
mod tenants;
mod witnessed;
mod workloads;
mod world;
