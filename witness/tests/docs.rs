//! Ties `docs/witness.md` to the command line.

use clap::CommandFactory as _;
use countersign_witness::commands::Cli;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[test]
fn the_page_of_the_witness_has_every_command_with_its_flags_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/witness.md");
    let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut command = None;
    for line in page.lines() {
        if line.starts_with('#') {
            command = line
                .strip_prefix("### `countersign-witness ")
                .map(|rest| rest.trim_end_matches('`').to_owned());
        }
        let cell = line.strip_prefix("| `").and_then(|l| l.split_once('`'));
        if let (Some(command), Some((flag, _))) = (&command, cell) {
            found
                .entry(command.clone())
                .or_default()
                .insert(flag.to_owned());
        }
    }
    let expected: BTreeMap<String, BTreeSet<String>> = Cli::command()
        .get_subcommands()
        .map(|c| {
            let flags = c
                .get_arguments()
                .filter_map(|a| a.get_long())
                .filter(|long| *long != "help")
                .map(|long| format!("--{long}"));
            (c.get_name().to_owned(), flags.collect())
        })
        .collect();
    assert_eq!(found, expected);
}
