//! `countersign`: see `countersign --help`.

use clap::Parser as _;
use countersign::commands::{Cli, run, unreadable};
use countersign::output;
use std::process::ExitCode;

/// A call's memory is asked for on one thread and given back on another, where the system's allocator makes them wait for
/// each other (`docs/decisions/0047-allocator.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to do if the output is gone.
            let _ = error.print();
            return if error.use_stderr() {
                unreadable(&arguments)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    run(cli).unwrap_or_else(|error| {
        output::line(format_args!("countersign: {error:#}"));
        ExitCode::FAILURE
    })
}
