//! # countersign-witness: a witness of logs
//!
//! A program for somebody who is not the operator: an auditor, a customer, another company. It
//! keeps the newest head of each log that it was told of, cosigns a larger one only with a proof
//! that it continues that head, and never signs a smaller or another one. So whoever shows two
//! histories of one log, or a shorter one, cannot show both with this witness's signature.
//!
//! It speaks C2SP tlog-witness, so it witnesses logs of others, and gateways can use witnesses
//! of others. It sees sizes and hashes; it never sees an entry.
//!
//! **May know:** heads, public keys of logs, its own key. **Must never know:** what a log is about.
//!
//! | module | what it is |
//! |---|---|
//! | [`protocol`] | what may be signed: pure, without network, disk or clock |
//! | [`store`] | what was signed last, one file a log, durable before anybody hears of it |
//! | [`config`] | `witness.toml` and the key |
//! | [`door`] | HTTP |
//! | [`commands`] | the command line |
//!
//! **Start reading** at [`protocol::judge`].

pub mod commands;
pub mod config;
pub mod door;
pub mod protocol;
pub mod store;
