//! `docs/spec/tdx.md` and the code say the same, `measurements/roots/intel` has what is pinned, and vectors are
//! those that their list names.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::*;

fn outside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn page() -> String {
    std::fs::read_to_string(outside("docs/spec/tdx.md")).unwrap()
}

#[test]
fn the_page_lists_every_check_once_in_order_and_says_which_are_needed() {
    let page = page();
    let (_, rest) = page.split_once("\n## Checks\n").unwrap();
    let (table, _) = rest.split_once("\n\nA signature that held").unwrap();
    let listed: Vec<(&str, bool)> = table
        .lines()
        .filter(|line| line.starts_with("| `tdx."))
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            (cells[0].trim_matches(['|', ' ', '`']), cells[2] == "yes")
        })
        .collect();
    let in_code: Vec<(&str, bool)> = TdxCheck::ALL
        .iter()
        .map(|code| (code.as_str(), !code.is_optional()))
        .collect();
    assert_eq!(listed, in_code);
}

#[test]
fn every_test_that_the_page_names_exists() {
    let sources = concat!(
        include_str!("../tests.rs"),
        include_str!("captures.rs"),
        include_str!("changes.rs"),
        include_str!("forms.rs"),
        include_str!("generated.rs"),
        include_str!("refused.rs"),
        include_str!("../../eventlog/ccel/tests.rs"),
    );
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let page = page();
    let named: Vec<&str> = page
        .split(|c| !is_word(c))
        .filter(|word| word.matches('_').count() >= 4)
        .collect();
    assert!(named.len() > 100, "{}", named.len());
    for name in named {
        let is_there = [format!("fn {name}("), format!("    {name}:")]
            .iter()
            .any(|text| sources.contains(text));
        assert!(is_there, "{name}");
    }
}

#[test]
fn the_page_and_the_file_of_the_root_have_the_pinned_digest() {
    let der = std::fs::read(outside("measurements/roots/intel/sgx-root-ca.der")).unwrap();
    let digest = RootDigest::of(&der);
    assert_eq!(Roots::intel(), Roots::of(vec![digest]));
    let list = std::fs::read_to_string(outside("measurements/roots/intel/README.md")).unwrap();
    for text in [page(), list] {
        assert!(text.contains(&digest.to_string()));
    }
}

#[test]
fn vectors_are_those_that_their_list_names() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/tdx");
    let list = std::fs::read_to_string(directory.join("README.md")).unwrap();
    let mut count = 0;
    for row in list.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let file = cells[0].trim_matches(['|', ' ', '`']);
        let bytes = std::fs::read(directory.join(file)).unwrap();
        let digest = hex::encode(Sha256::digest(&bytes));
        assert_eq!(cells[3].trim_matches('`'), digest, "{file}");
        count += 1;
    }
    // Cases of `dcap-qvl-gen` stand in directories of their own, which `generated.rs` lists.
    let directories = [
        "azure",
        "ccel",
        "dcap-qvl",
        "dcap-qvl-gen",
        "google",
        "google/ccel",
        "trustee",
    ];
    let files = directories
        .iter()
        .flat_map(|name| std::fs::read_dir(directory.join(name)).unwrap())
        .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file());
    assert_eq!(count, files.count());
}
