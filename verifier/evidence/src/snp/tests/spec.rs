//! `docs/spec/snp.md` and the code say the same, and so do `measurements/roots/amd` and the pins.

use std::path::{Path, PathBuf};

use super::*;
use crate::hex::Hex;

fn outside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn page() -> String {
    std::fs::read_to_string(outside("docs/spec/snp.md")).unwrap()
}

/// What stands between backquotes, in order.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_page_lists_every_check_once_and_in_order() {
    let page = page();
    let (_, rest) = page.split_once("\n## Checks\n").unwrap();
    let (table, _) = rest.split_once("\n\nA signature that held").unwrap();
    let mut needed = Vec::new();
    let mut listed = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| `snp.")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        for code in quoted(cells[0]) {
            listed.push(code);
            needed.push(cells[2] == "yes");
        }
    }
    let codes: Vec<&str> = SnpCheck::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(listed, codes);
    let in_code: Vec<bool> = SnpCheck::ALL
        .iter()
        .map(|code| !code.is_optional())
        .collect();
    assert_eq!(needed, in_code);
}

#[test]
fn every_test_that_the_page_names_exists() {
    let sources = concat!(
        include_str!("../tests.rs"),
        include_str!("refused.rs"),
        include_str!("captured.rs"),
        include_str!("certificates.rs"),
    );
    let page = page();
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let named: Vec<&str> = page
        .split(|c| !is_word(c))
        .filter(|word| word.matches('_').count() >= 3)
        .collect();
    assert!(named.len() > 50, "{}", named.len());
    for name in named {
        assert!(sources.contains(&format!("fn {name}()")), "{name}");
    }
}

#[test]
fn the_page_and_the_certificates_for_people_have_the_pinned_keys() {
    let page = page();
    let (_, rest) = page.split_once("\n## Roots\n").unwrap();
    for product in Product::ALL {
        let name = product.as_str().to_lowercase();
        for role in ["ark", "ask", "asvk"] {
            let file = format!("{name}-{role}.der");
            let read = |directory: PathBuf| std::fs::read(directory.join(&file)).unwrap();
            let people = read(outside("measurements/roots/amd"));
            let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/snp/roots");
            assert_eq!(people, read(tests), "{file}");
            let certificate = countersign_certificates::Certificate::parse(&people).unwrap();
            let key = SpkiDigest::of(certificate.spki());
            let pinned = Roots::amd().product_of(key);
            assert_eq!(pinned, (role == "ark").then_some(product), "{file}");
            let line = format!("{:<6}{}", product.as_str(), Hex(key.0));
            assert_eq!(rest.contains(&line), role == "ark", "{file}");
        }
    }
}
