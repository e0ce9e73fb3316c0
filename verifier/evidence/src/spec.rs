//! `docs/spec/azure.md`, `docs/spec/gcp.md`, `docs/spec/tpm-keys.md` and the code say the same.

use std::path::Path;

use crate::azure::AzureCheck;
use crate::gcp::EndorsementCheck;
use crate::tpm::{AkCheck, CertifiedCheck, QuoteCheck};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec");
    std::fs::read_to_string(path.join(name)).unwrap()
}

/// Codes of the rows between a heading and the next, in order. `a.b`, `.c` in one cell are `a.b` and `a.c`.
fn codes(page: &str, heading: &str) -> Vec<String> {
    let (_, rest) = page.split_once(heading).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let section = section.split("\n### ").next().unwrap();
    let mut found = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        let mut first = "";
        for code in cell.split('`').skip(1).step_by(2) {
            match code.strip_prefix('.') {
                None => {
                    first = code;
                    found.push(code.to_owned());
                }
                Some(last) => {
                    let (stem, _) = first.rsplit_once('.').unwrap();
                    found.push(format!("{stem}.{last}"));
                }
            }
        }
    }
    found
}

fn texts<C: Copy>(all: &[C], text: impl Fn(C) -> &'static str) -> Vec<String> {
    all.iter().map(|code| text(*code).to_owned()).collect()
}

#[test]
fn the_pages_list_every_check_once_and_in_order() {
    let (azure, gcp, keys) = (page("azure.md"), page("gcp.md"), page("tpm-keys.md"));
    assert_eq!(
        codes(&azure, "\n## Checks of a paravisor's report\n"),
        texts(AzureCheck::ALL, AzureCheck::as_str)
    );
    assert_eq!(
        codes(&gcp, "\n### Checks of a launch endorsement\n"),
        texts(EndorsementCheck::ALL, EndorsementCheck::as_str)
    );
    assert_eq!(
        codes(&keys, "\n### Certificates: `appraise_ak`\n"),
        texts(AkCheck::ALL, AkCheck::as_str)
    );
    assert_eq!(
        codes(&keys, "\n### One key for another: `appraise_certified`\n"),
        texts(CertifiedCheck::ALL, CertifiedCheck::as_str)
    );
    assert_eq!(
        codes(&keys, "\n## Quotes: `appraise_quote`\n"),
        texts(QuoteCheck::ALL, QuoteCheck::as_str)
    );
}

#[test]
fn every_test_that_the_pages_name_exists() {
    let sources = concat!(
        include_str!("azure/tests.rs"),
        include_str!("gcp/tests.rs"),
        include_str!("tpm/tests.rs"),
        include_str!("tpm/quote/tests.rs"),
        include_str!("tpm/certified/tests.rs"),
        include_str!("tpm/chain/tests.rs"),
        include_str!("eventlog/components/tests.rs"),
    );
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut count = 0;
    for page in [page("azure.md"), page("tpm-keys.md")] {
        for name in page
            .split(|c| !is_word(c))
            .filter(|word| word.matches('_').count() >= 4)
        {
            assert!(sources.contains(&format!("fn {name}()")), "{name}");
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn certificates_for_people_are_those_of_the_tests() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let people = here.join("../../measurements/roots/google");
    let tests = here.join("vectors/tpm/google");
    let mut count = 0;
    for entry in std::fs::read_dir(&tests).unwrap() {
        let name = entry.unwrap().file_name();
        let read = |directory: &Path| std::fs::read(directory.join(&name)).unwrap();
        assert_eq!(read(&people), read(&tests), "{name:?}");
        count += 1;
    }
    assert_eq!(count, 5);
}
