//! What the gateway tells the launcher, and what the launcher answers.
//!
//! The plan stands on the launcher's command line, as JSON: it holds paths and numbers of a bundle, which is not secret. The
//! answer is one line on its error stream, before the program's first.

use countersign_policies::site::sandbox::{Layer, Limits, Network, Profile};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Name of the launcher's command.
pub const COMMAND: &str = "sandbox-exec";

/// What a program may touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// User and group that it runs as.
    pub uid: u32,
    /// Files and directories that it may read and execute.
    pub read: Vec<String>,
    /// Files and directories that it may read and change.
    pub write: Vec<String>,
    /// What network it has.
    pub network: Network,
    /// Limits.
    pub limits: Limits,
    /// Layers without which it does not start.
    pub required: BTreeSet<Layer>,
}

impl Plan {
    /// The plan of a profile, as text.
    ///
    /// # Errors
    /// Never in practice: a plan is texts and numbers.
    pub fn of(profile: &Profile) -> Result<String, serde_json::Error> {
        let Profile {
            name: _,
            digest: _,
            uid,
            read,
            write,
            network,
            limits,
            required,
        } = profile.clone();
        serde_json::to_string(&Self {
            uid,
            read,
            write,
            network,
            limits,
            required,
        })
    }
}
