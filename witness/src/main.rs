//! `countersign-witness`: see `countersign-witness --help`.

use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match countersign_witness::commands::run(countersign_witness::commands::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _unread = writeln!(std::io::stderr(), "countersign-witness: {error:#}");
            ExitCode::FAILURE
        }
    }
}
