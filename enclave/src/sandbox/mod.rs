//! Programs that are upstreams, each within what its profile names.
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`] | what the gateway tells the launcher, and what the launcher answers |
//! | [`launch`] | `countersign sandbox-exec`: confines itself, says how far, and becomes the program |
//! | [`inherited`] | files that the program must not have; the one place with unsafe code |
//! | [`files`] | Landlock |
//! | [`calls`] | seccomp |
//! | [`network`] | a network of its own, with nobody in it but the gateway's proxy |
//!
//! In: a profile of the bundle. Out: a program that runs within it, and the layers that are really in force, or a program
//! that was not started. The launcher is a program of its own run, so that each layer is put on by a process that
//! has one thread and nothing of the gateway's memory. Why so: decision 0039.

pub mod calls;
pub mod files;
pub(crate) mod inherited;
pub mod launch;
pub mod network;
pub mod plan;
