//! # countersign-benches: benchmarks with a reference beside us
//!
//! Each program in `src/bin` measures one thing and, in the same run, what it is compared with.
//! Here is what several of them share.
//!
//! | module | what it has |
//! |---|---|
//! | [`site`] | a site with one tool, and a gateway that serves it as `countersign serve` does |
//! | [`controls`] | the same site with all controls, as a large one has them |
//! | [`upstream`] | an MCP server in memory, and a bare JSON reverse proxy of the gateway's stack |
//! | [`load`] | clients in a closed loop over kept connections |
//! | [`figures`] | percentiles, the machine, the flush |
//!
//! **May know:** everything. **Must never:** be part of the product.

#![expect(
    clippy::disallowed_methods,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "measurements for people, at the console"
)]

pub mod controls;
pub mod figures;
pub mod load;
pub mod site;
pub mod upstream;
