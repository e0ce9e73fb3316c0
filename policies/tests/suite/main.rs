//! From a site's files to verdicts, over the public interface.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod arguments;
mod bundle;
mod contracts;
mod decide;
mod facts;
mod fixture;
mod issuers;
mod profiles;
mod refusals;
mod site;
mod visible;
mod workloads;
