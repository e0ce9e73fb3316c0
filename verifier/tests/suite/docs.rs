//! Ties what `docs/` says of this program to the program.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking; the lints know test functions but not their helpers"
)]

use countersign_verify::codes::{Code, Need, Section, Severity};
use countersign_verify::trust::{Reference, Trust};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// First cells of the tables between a heading and the next of its level.
fn rows(page: &str, heading: &str) -> BTreeSet<String> {
    page.lines()
        .skip_while(|l| *l != heading)
        .skip(1)
        .take_while(|l| !l.starts_with("### "))
        .filter_map(|l| l.strip_prefix("| `")?.split_once('`'))
        .map(|(cell, _)| cell.to_owned())
        .collect()
}

/// Options of a help text, up to its exit codes.
fn options(arguments: &[&str]) -> BTreeSet<String> {
    let program = env!("CARGO_BIN_EXE_countersign-verify");
    let said = Command::new(program).args(arguments).output();
    let help = said.unwrap_or_else(|e| panic!("{program}: {e}")).stdout;
    let help = String::from_utf8_lossy(&help).into_owned();
    let usage = help.split("exit codes").next().unwrap_or_default();
    usage
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|w| w.starts_with("--"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_of_commands_has_every_option_of_the_help_and_no_other() {
    let page = page("commands.md");
    for (heading, arguments) in [
        ("### countersign-verify", &["--help"][..]),
        ("### countersign-verify evidence", &["evidence", "--help"]),
    ] {
        let rows = rows(&page, heading);
        let found: BTreeSet<String> = rows
            .iter()
            .filter_map(|r| r.split(' ').next())
            .filter(|w| w.starts_with("--"))
            .map(str::to_owned)
            .collect();
        assert_eq!(found, options(arguments), "{heading}");
    }
}

#[test]
fn the_page_of_the_configuration_has_every_key_of_a_trust_file_and_no_other() {
    let foreign = "foreign_key = 1";
    let expected_by = |text: String| -> BTreeSet<String> {
        let error = Trust::parse(text.as_bytes()).unwrap_err().to_string();
        let (_, list) = error.split_once("expected").expect("what was expected");
        list.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let mut expected = BTreeSet::new();
    for section in expected_by(format!("version = 1\n{foreign}")) {
        if section == "version" {
            expected.insert(section);
            continue;
        }
        let table = expected_by(format!("version = 1\n[{section}]\n{foreign}"));
        // A section that may stand several times is not taken as a single table.
        let keys = if table.is_empty() {
            expected_by(format!("version = 1\n[[{section}]]\n{foreign}"))
        } else {
            table
        };
        for key in keys {
            expected.insert(format!("{section}.{key}"));
        }
    }
    assert_eq!(
        rows(&page("configuration.md"), "### `trust.toml`"),
        expected
    );
}

#[test]
fn the_readmes_trust_and_reference_files_are_read() {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))
            .unwrap();
    // Any key of the curve will do in the place of the reader's own.
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let filled = readme
        .replace("<64 hexadecimal digits>", key)
        .replace("<digest of the program>", key)
        .replace("<digest of countersign.toml>", key);
    let files: Vec<&str> = filled
        .split("```toml\n")
        .skip(1)
        .filter_map(|f| f.split("```").next())
        .filter(|f| f.contains("version = 1"))
        .collect();
    let [trust, reference] = files.as_slice() else {
        panic!("{} files, expected 2", files.len());
    };
    Trust::parse(trust.as_bytes()).unwrap();
    let reference = Reference::parse(reference.as_bytes()).unwrap();
    assert_eq!(
        reference.pcrs.unwrap().into_keys().collect::<Vec<_>>(),
        [4, 7, 11, 12, 13]
    );
}

/// Replaces what stands between a marker and the next empty line.
fn with_block(page: &str, marker: &str, block: &str) -> String {
    match page
        .split_once(marker)
        .map(|(before, rest)| (before, rest.split_once("\n\n")))
    {
        Some((before, Some((_, after)))) => format!("{before}{marker}\n{block}\n\n{after}"),
        _ => panic!("the page has no block after {marker}"),
    }
}

fn word(section: Section) -> &'static str {
    match section {
        Section::Who => "who",
        Section::Rules => "rules",
        Section::Unaltered => "unaltered",
        Section::Complete => "complete",
        Section::KnownToOthers => "known-to-others",
    }
}

/// The page of verification with its two lists as the code has them.
fn verification(page: &str) -> String {
    let mut table = String::from("| code | section | severity | need |\n|---|---|---|---|");
    for section in Section::ALL {
        for info in Code::ALL.iter().map(|c| c.info()) {
            if info.section != *section {
                continue;
            }
            let severity = match info.severity {
                Severity::Untrusted => "untrusted",
                Severity::Policy => "policy",
            };
            let need = match info.need {
                Need::Required => "required",
                Need::Optional => "optional",
            };
            let section = word(*section);
            table.push_str(&format!(
                "\n| `{}` | {section} | {severity} | {need} |",
                info.name
            ));
        }
    }
    let blame: Vec<&str> = Code::BLAME.iter().map(|c| c.info().name).collect();
    let blame = format!("```text\n{}\n```", blame.join("\n"));
    let page = with_block(page, "<!-- table of codes -->", &table);
    with_block(&page, "<!-- order of blame -->", &blame)
}

#[test]
fn the_specification_of_verification_has_the_codes_and_the_order_of_blame() {
    let page = page("spec/verification.md");
    if update() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/verification.md");
        std::fs::write(path, verification(&page)).unwrap();
        return;
    }
    assert_eq!(page, verification(&page));
}

#[test]
fn the_specification_of_verification_has_a_condition_for_every_code() {
    let page = page("spec/verification.md");
    let found: BTreeSet<&str> = page
        .lines()
        .filter_map(|l| l.strip_prefix("### `"))
        .flat_map(|l| l.split('`').step_by(2))
        .collect();
    let expected: BTreeSet<&str> = Code::ALL.iter().map(|c| c.info().name).collect();
    assert_eq!(found, expected);
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whoever runs the tests, not the machine, whether to rewrite"
)]
fn update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1")
}

#[test]
fn the_floors_beside_the_roots_are_part_of_a_trust_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../measurements/floors/amd.toml");
    let trust = Trust::parse(&std::fs::read(path).unwrap()).unwrap();
    let products = trust.snp.unwrap().policy.products;
    let floors: Vec<_> = products
        .values()
        .map(|product| product.floor.unwrap())
        .map(|floor| (floor.snp, floor.microcode))
        .collect();
    assert_eq!(floors, [(27, 86), (4, 81)]);
}
