//! Tests of the whole journal, on real files.
#![expect(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

mod appending;
mod cosigned;
mod crash;
mod erasing;
mod faults;
mod keeping;
mod order;
mod site;
mod stamped;
mod tamper;
