//! # countersign: the gateway
//!
//! Boot, sockets, wiring, admin commands. No decisions: those are `countersign-gateway`'s,
//! and this crate awaits between its stages.
//!
//! | module | what it does |
//! |---|---|
//! | [`site`] | the site directory on disk: settings, signed bundle, release policy |
//! | [`boot`] | from a machine to an open epoch, or to a gateway that is held |
//! | [`keeper`] | what keys and count rest on: a TPM that lasts, or one boot |
//! | [`enrolment`] | what governance is handed, and its word that a gateway for one boot waits for |
//! | [`adoption`] | what people hand to each other when one gateway continues another's work |
//! | [`transport`] | TLS 1.3, or plain HTTP on loopback: for the gateway and for commands that reach one |
//! | [`bridge`] | an MCP server over stdio that passes each message on to a gateway, signed |
//! | [`serve`] | the running gateway: its parts, its lease, its end |
//! | [`calls`] | the way of one call |
//! | [`stopping`] | calls under way that a person can stop |
//! | [`strangers`] | requests of callers whom nobody knows, counted and slowed down |
//! | [`talk`] | what passes between a call under way and its client |
//! | [`egress`] | where connections to upstreams may go, and who has to be there |
//! | [`sandbox`] | programs that are upstreams, each within what its profile names |
//! | [`upstreams`] | the servers behind, each principal's its own |
//! | [`collateral`] | what vendors say of the machine's platform, as files of the site |
//! | [`pull`] | collateral from vendors' services, appraised before it is kept |
//! | [`azure`], [`fetch`] | what a host's service gives, and how it is asked |
//! | [`telemetry`] | traces, metrics and logs for those who operate it; no evidence |
//! | [`export`] | what of the log leaves, and how it is written |
//! | [`measures`] | metrics of the controls, computed from an export |
//! | [`doors`] | HTTP: `/v1/calls`, `/mcp`, records, attestation, approvals, export |
//! | [`doctor`] | what is missing on this machine, in words an operator can act on |
//! | [`commands`] | the command line |
//!
//! **May know:** everything in the enclave. **Must never:** decide, or put a request's
//! arguments, results, tokens or names into a log.
//!
//! **Start reading** at [`calls`], which is DESIGN's table with awaits.

pub mod adoption;
pub mod azure;
pub mod boot;
pub mod bridge;
pub mod calls;
pub mod clock;
pub mod collateral;
pub mod commands;
pub mod doctor;
pub mod doors;
pub mod egress;
pub mod enrolment;
pub mod erasing;
pub mod export;
pub mod fetch;
pub mod flow;
pub mod joint;
pub mod keeper;
pub mod keys;
pub mod measures;
pub mod output;
pub mod plain_http;
pub mod pull;
pub mod renewal;
pub mod ring;
pub mod sandbox;
pub mod serve;
pub mod site;
pub mod stopping;
pub mod strangers;
pub mod subjects;
pub mod talk;
pub mod telemetry;
pub mod timestamps;
pub mod transport;
pub mod upstreams;
pub mod witnesses;
