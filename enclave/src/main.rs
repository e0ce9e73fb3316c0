//! `countersign`: see `countersign --help`.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match countersign::commands::run(countersign::commands::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("countersign: {error:#}");
            ExitCode::FAILURE
        }
    }
}
