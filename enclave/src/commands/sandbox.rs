//! `countersign sandbox-exec`: see [`crate::sandbox::launch`].

use crate::sandbox::launch::launch;
use std::ffi::OsString;
use std::process::ExitCode;

/// Confine this process and become a program.
#[derive(Debug, clap::Args)]
pub(super) struct SandboxExec {
    /// What the program may touch, as the gateway writes it.
    #[arg(value_name = "PLAN")]
    plan: String,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

impl SandboxExec {
    /// Returns only if nothing was started.
    pub(super) fn run(self) -> ExitCode {
        launch(&self.plan, &self.program)
    }
}
