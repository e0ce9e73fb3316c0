//! Tests of the whole format: every type is generated from its declared fields, so a new field is tested by being there.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "tests count and choose, and an example is long because it has everything"
)]

mod bounds;
mod example;
mod foreign;
mod golden;
mod hostile;
mod items;
mod notes;
mod refused;
mod round_trip;
pub(crate) mod schema;
mod spec;
