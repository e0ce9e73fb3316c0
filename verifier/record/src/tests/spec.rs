//! The specification and the code say the same: `docs/spec` cannot change alone, and neither can this.

use super::schema::{Enum, FIXED, Inside, MAPS, Map, enums, inner, inside, plain};
use crate::entry::Kind;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The directory of the specification.
fn spec() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec")
}

fn page(name: &str) -> String {
    let path = spec().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `EntryRef` as `entry-ref`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The CDDL of a field's type.
fn cddl_type(map: &str, field: &str, ty: &str) -> String {
    let ty = inner("Option", ty).unwrap_or(ty);
    if let Some(item) = inner("Vec", ty) {
        return format!("[* {}]", cddl_type(map, field, item));
    }
    if let Some(n) = ty.strip_prefix("[u8;").and_then(|t| t.strip_suffix(']')) {
        return format!("bstr .size {n}");
    }
    match (ty, inside(map, field)) {
        ("Bytes", Some(Inside::Map(inside))) => format!("bstr .cbor {}", kebab(inside)),
        ("Bytes", Some(Inside::Signed(inside))) => format!("bstr .cbor signed-{}", kebab(inside)),
        ("Bytes", None) => "bstr".to_owned(),
        ("u64", _) => "uint".to_owned(),
        ("u8", _) => "byte".to_owned(),
        ("bool", _) => "bool".to_owned(),
        ("String", _) => "tstr".to_owned(),
        (named, _) => kebab(named),
    }
}

/// The lines between `name = {` and `}`, or after `name =`.
fn rule(cddl: &str, name: &str) -> Vec<String> {
    let mut lines = cddl
        .lines()
        .skip_while(|l| *l != format!("{name} = {{") && *l != format!("{name} ="));
    assert!(lines.next().is_some(), "the cddl has no rule {name}");
    lines
        .take_while(|l| *l != "}" && !l.is_empty())
        .map(str::to_owned)
        .collect()
}

fn fields_of(map: &Map) -> Vec<String> {
    let fields = map.fields.iter().zip(map.types).map(|((key, name), ty)| {
        let ty = plain(ty);
        let optional = if inner("Option", &ty).is_some() {
            "? "
        } else {
            ""
        };
        format!(
            "{optional}{key} => {} ; {name}",
            cddl_type(map.name, name, &ty)
        )
    });
    fields.collect()
}

#[test]
fn every_map_of_the_cddl_is_that_of_the_code() {
    let cddl = page("record.cddl");
    for map in MAPS {
        let written: Vec<String> = rule(&cddl, &kebab(map.name))
            .iter()
            .map(|line| {
                let (rule, comment) = line
                    .split_once(';')
                    .unwrap_or_else(|| panic!("{}: {line}", map.name));
                let name = comment.trim().split(':').next().unwrap_or_default();
                format!("{} ; {name}", rule.trim().trim_end_matches(','))
            })
            .collect();
        assert_eq!(written, fields_of(map), "{}", map.name);
    }
}

#[test]
fn every_enumeration_of_the_cddl_is_that_of_the_code() {
    let cddl = page("record.cddl");
    for Enum { name, values } in enums() {
        let written: Vec<(u64, String)> = rule(&cddl, &kebab(name))
            .iter()
            .map(|line| {
                let (number, comment) = line.split_once(';').unwrap();
                let number = number
                    .trim()
                    .trim_start_matches('/')
                    .trim()
                    .parse()
                    .unwrap();
                (
                    number,
                    comment
                        .trim()
                        .split(':')
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                )
            })
            .collect();
        let ours: Vec<_> = values
            .into_iter()
            .map(|(n, word)| (n, word.to_owned()))
            .collect();
        assert_eq!(written, ours, "{name}");
    }
}

#[test]
fn every_fixed_size_of_the_cddl_is_that_of_the_code() {
    let cddl = page("record.cddl");
    for (name, size) in FIXED {
        let rule = format!("\n{} = bstr .size {size}", kebab(name));
        assert!(
            cddl.lines()
                .any(|l| format!("\n{l} ").starts_with(&(rule.clone() + " "))),
            "{name}"
        );
    }
}

#[test]
fn the_cddl_uses_no_rule_that_it_does_not_have_and_has_none_that_the_code_has_not() {
    let cddl = page("record.cddl");
    let code: String = cddl
        .lines()
        .map(|l| l.split(';').next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let quoted: Vec<&str> = code.split('"').step_by(2).collect();
    let words: BTreeSet<&str> = quoted
        .iter()
        .flat_map(|part| part.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')))
        .filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let rules: BTreeSet<&str> = code
        .lines()
        .filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase()) && l.contains(" ="))
        .map(|l| l.split(['<', ' ']).next().unwrap())
        .collect();
    let known = [
        "bstr",
        "tstr",
        "uint",
        "bool",
        "size",
        "cbor",
        "typ",
        "payload",
        "body",
        "protected",
        "unprotected",
        "value",
    ];
    let unknown: Vec<_> = words
        .iter()
        .filter(|w| !rules.contains(*w) && !known.contains(*w))
        .collect();
    assert_eq!(unknown, Vec::<&&str>::new());
    let mut ours: BTreeSet<String> = MAPS.iter().map(|m| kebab(m.name)).collect();
    ours.extend(enums().iter().map(|e| kebab(e.name)));
    ours.extend(FIXED.iter().map(|(name, _)| kebab(name)));
    let by_hand = "byte unix-millis signed protected-header entry entry-payload extensions committed \
                   signed-fleet-statement signed-approval-statement signed-recover-statement signed-adopt-statement \
                   signed-bundle-statement signed-receipt signed-channel-statement signed-erasure-statement signed-hold-statement signed-stop-statement export-magic export-item";
    ours.extend(by_hand.split_whitespace().map(str::to_owned));
    assert_eq!(
        rules
            .iter()
            .map(|r| (*r).to_owned())
            .collect::<BTreeSet<_>>(),
        ours
    );
}

#[test]
fn the_cddl_gives_every_kind_its_type_and_body() {
    let cddl = page("record.cddl");
    for kind in Kind::ALL {
        let body = kebab(super::schema::body_of(*kind));
        let line = format!("signed<\"{}\", entry-payload<{body}>>", kind.typ());
        assert!(cddl.contains(&line), "{line}");
    }
}

/// Quoted strings in the sources (tests apart) that start like this.
fn strings(start: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in crate::testdata::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        if path.to_string_lossy().contains("tests") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
            found.extend(
                line.split('"')
                    .skip(1)
                    .step_by(2)
                    .filter(|s| s.starts_with(start))
                    .map(str::to_owned),
            );
        }
    }
    found
}

#[test]
fn every_domain_and_every_media_type_is_in_the_prose() {
    let prose = ["record.md", "evidence.md", "export.md", "bundle.md"]
        .map(page)
        .concat();
    let domains: BTreeSet<String> = strings("countersign/")
        .into_iter()
        .filter(|s| s.ends_with("/v1"))
        .collect();
    assert!(domains.len() >= 8, "{domains:?}");
    for text in domains.iter().chain(&strings("application/countersign.")) {
        assert!(
            prose.contains(&format!("`{text}`")),
            "{text} is not in the prose"
        );
    }
}

#[test]
fn no_two_uses_share_a_domain() {
    let mut count = 0;
    for domain in strings("countersign/")
        .iter()
        .filter(|s| s.ends_with("/v1"))
    {
        let uses: usize =
            crate::testdata::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
                .iter()
                .filter(|p| !p.to_string_lossy().contains("tests"))
                .map(|p| {
                    std::fs::read_to_string(p)
                        .unwrap()
                        .matches(&format!("\"{domain}\""))
                        .count()
                })
                .sum();
        assert_eq!(uses, 1, "{domain}");
        count += 1;
    }
    assert!(count >= 8);
}

#[test]
fn the_page_of_versions_has_every_version_of_this_package() {
    let page = page("versions.md");
    for (what, version) in [
        ("entry", crate::entry::FORMAT_VERSION),
        ("binding", crate::binding::BINDING_VERSION),
        ("export", crate::export::EXPORT_FORMAT),
        ("bundle", crate::bundle::BUNDLE_FORMAT),
    ] {
        let row = format!("| {what} | {version} |");
        assert!(
            page.lines().any(|l| l.starts_with(&row)),
            "versions.md has no row that starts with {row}"
        );
    }
    for domain in strings("countersign/")
        .iter()
        .filter(|s| s.ends_with("/v1"))
    {
        assert!(
            page.contains(&format!("`{domain}`")),
            "versions.md does not list {domain}"
        );
    }
}

/// Copies each golden into the place where a page shows it.
fn with_examples(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("<!-- golden: ") {
        let (name, after) = after.split_once(" -->\n```text\n").unwrap();
        let (_, after) = after.split_once("```\n").unwrap();
        let path = crate::testdata::directory().join("golden").join(name);
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        out.push_str(&format!(
            "{before}<!-- golden: {name} -->\n```text\n{golden}```\n"
        ));
        rest = after;
    }
    out + rest
}

#[test]
fn the_worked_examples_are_the_goldens() {
    for name in ["record.md", "evidence.md", "export.md", "bundle.md"] {
        let found = page(name);
        let expected = with_examples(&found);
        if super::golden::update() {
            std::fs::write(spec().join(name), &expected).unwrap();
            continue;
        }
        assert!(
            found.contains("<!-- golden: "),
            "{name} has no worked example"
        );
        assert!(
            found == expected,
            "{name}: a worked example is not its golden"
        );
    }
}
