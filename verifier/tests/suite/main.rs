//! The verifier from outside: exports that are made here and judged, the program as a person starts it, and what `docs/` says
//! of both.
//!
//! One program for all of them, since each is linked for itself. The corpus is judged by `tests/corpus` and made by `tests/vectors`.

#[expect(
    dead_code,
    reason = "shared by two programs, each of which uses a part"
)]
#[path = "../common/mod.rs"]
mod common;

mod acceptance;
mod bare;
mod bounds;
mod calls;
mod command;
mod completeness;
mod counterpart;
mod docs;
mod handover;
mod hostile;
mod outside;
mod pieces;
mod platform;
mod privacy;
mod scale;
mod tamper;
mod witnesses;
