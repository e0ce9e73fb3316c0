//! Fake devices and fake vendors, for tests: what they say has the real format and is genuinely signed,
//! under keys that stand in `keys/` for everybody to use. So a test can present evidence in which one thing
//! alone is wrong, and every check in front of it holds.
//!
//! What it may know: formats of vendors. What it must never be: a dependency of anything but tests. The
//! roots of its chains are passed to the verifier as anchors by the tests that use them.
//!
//! Nothing here shares code with what it tests: encodings are written here a second time.
//!
//! Start reading at [`x509::Certificate`] and at [`snp::Draft`].
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a fake that cannot be made shall stop its test at once"
)]

pub mod azure;
pub mod der;
pub mod google;
pub mod key;
pub mod rsa;
pub mod snp;
pub mod svid;
pub mod tdx;
pub mod tpm;
pub mod x509;
