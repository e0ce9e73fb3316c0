//! Ties the pages below `docs/` to the code that they describe.
//!
//! Commands and flags to the command line, keys of site files to their parser, paths of the
//! HTTP interface to the router, and the coverage page to files and tests that exist.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking; the lints know test functions but not their helpers"
)]

use clap::CommandFactory as _;
use countersign::commands::Cli;
use countersign::doctor;
use countersign_gateway::refusal::Code;
use countersign_gateway::security::SecurityEvent;
use countersign_policies::site::profiles::{BUILT_IN, Profile, Whose};
use countersign_policies::site::{Site, SiteFiles, parse_settings};
use countersign_record::body::Classification;
use countersign_record::commitment::Field;
use countersign_record::digest::SubjectId;
use countersign_record::profile::Disclosed;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const OPENAPI: &str = countersign::doors::OPENAPI;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    let path = root().join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Sections of a page by their headings of the third level, without backticks.
fn sections(text: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut heading = None;
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.strip_prefix("### ").map(|h| h.replace('`', ""));
            if let Some(h) = &heading {
                assert!(
                    out.insert(h.clone(), String::new()).is_none(),
                    "{h} stands twice"
                );
            }
        } else if let Some(h) = &heading {
            let body: &mut String = out.entry(h.clone()).or_default();
            body.push_str(line);
            body.push('\n');
        }
    }
    out
}

/// What stands between backticks.
fn code_words(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Words between backticks that begin the rows of a table.
fn first_cells(section: &str) -> BTreeSet<String> {
    section
        .lines()
        .filter_map(|l| l.strip_prefix("| `"))
        .filter_map(|l| l.split_once('`'))
        .map(|(word, _)| word.to_owned())
        .collect()
}

// Commands.

fn leaves(command: &clap::Command, path: &str, out: &mut BTreeMap<String, BTreeSet<String>>) {
    let mut below = command
        .get_subcommands()
        .filter(|c| c.get_name() != "help")
        .peekable();
    let own = |a: &&clap::Arg| !matches!(a.get_id().as_str(), "help" | "version");
    // A command may do something by itself and have others below it.
    if below.peek().is_none() || command.get_arguments().any(|a| own(&a)) {
        let arguments = command.get_arguments().filter(own);
        let shown = arguments.map(|a| match a.get_long() {
            Some(long) => format!("--{long}"),
            None => a.get_id().as_str().to_uppercase(),
        });
        out.insert(path.to_owned(), shown.collect());
    }
    for c in below {
        leaves(c, &format!("{path} {}", c.get_name()), out);
    }
}

#[test]
fn the_page_of_commands_has_every_command_with_its_flags_and_no_other() {
    let mut expected = BTreeMap::new();
    leaves(&Cli::command(), "countersign", &mut expected);
    let found: BTreeMap<String, BTreeSet<String>> = sections(&page("commands.md"))
        .into_iter()
        .filter(|(heading, _)| heading.starts_with("countersign "))
        .map(|(heading, body)| {
            let words = first_cells(&body);
            let names = words
                .iter()
                .map(|w| w.split(' ').next().unwrap_or_default().to_owned());
            (heading, names.collect())
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_page_of_doctor_has_every_code_in_order_and_no_other() {
    let page = page("doctor.md");
    let rows = page.lines().filter_map(|l| l.strip_prefix("| `"));
    let found: Vec<&str> = rows.filter_map(|l| Some(l.split_once('`')?.0)).collect();
    let expected: Vec<&str> = doctor::Code::ALL.iter().map(|c| c.text()).collect();
    assert_eq!(found, expected);
}

// Site files.

/// The example site, as `countersign init` would write it.
fn example() -> SiteFiles {
    let mut files = BTreeMap::new();
    let directory = root().join("policies/example");
    // No two parties share a key.
    let mut keys = 1u8..;
    let mut fill = |text: &str| {
        let mut text = text
            .replace("@TENANT_ID@", &"01".repeat(16))
            .replace("@LISTEN@", "127.0.0.1:1")
            .replace("@TPM@", "device:x")
            .replace("@RELEASE_KEY@", &"04".repeat(65))
            .replace("@PYTHON@", "\"python\"")
            .replace("@ARGS@", "[]")
            .replace("@ENTRY@", "")
            .replace(
                "@ERASURE_CREDENTIAL@",
                &format!("public_key = \"{}\"", "aa".repeat(32)),
            );
        let is_place = |text: &str, at: usize| {
            let next = text[at + 1..].chars().next();
            next.is_some_and(|c| c.is_ascii_uppercase())
        };
        while let Some((start, _)) = text.match_indices('@').find(|(i, _)| is_place(&text, *i)) {
            let end = start + 1 + text[start + 1..].find('@').unwrap();
            text.replace_range(start..=end, &hex::encode([keys.next().unwrap(); 32]));
        }
        text
    };
    for sub in ["", "adapters", "agents", "approvers", "capabilities"] {
        for entry in fs::read_dir(directory.join(sub)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") {
                let name = path
                    .strip_prefix(&directory)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.insert(name, fill(&fs::read_to_string(&path).unwrap()));
            }
        }
    }
    SiteFiles(files)
}

/// The keys that the parser says it expected where `key` stands.
fn expected_beside(message: &str, key: &str) -> BTreeSet<String> {
    let line = message
        .lines()
        .find(|l| l.contains(&format!("`{key}`")) && l.contains("expected"))
        .unwrap_or_else(|| panic!("nobody complains of {key}: {message}"));
    let (_, expected) = line.split_once("expected").unwrap();
    code_words(expected)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// The example with one file's text changed, and what is said of it.
fn complaint(file: &str, change: impl FnOnce(&str) -> String) -> String {
    let mut files = example();
    let text = change(files.0.get(file).expect(file));
    if file == "countersign.toml" {
        return parse_settings(&text).unwrap_err().to_string();
    }
    files.0.insert(file.to_owned(), text);
    Site::parse(&files).unwrap_err().to_string()
}

/// The example with a further file, and what is said of it.
fn complaint_about(file: &str, text: &str) -> String {
    let mut files = example();
    files.0.insert(file.to_owned(), text.to_owned());
    Site::parse(&files).unwrap_err().to_string()
}

/// An issuer with a word that nothing has in one place.
fn issuer_with(key: &str) -> String {
    let word = |k: &str, usual: &str| if k == key { "no-such-word" } else { usual }.to_owned();
    let text = format!(
        "name = \"corp\"\nurl = \"https://a.example\"\naudience = \"https://b.example\"\njwks = \"x\"\n\
         algorithms = [\"{}\"]\ntoken_type = \"{}\"\nclient_claim = \"{}\"\nuser_claim = \"{}\"\n",
        word("algorithms", "ES256"),
        word("token_type", "JWT"),
        word("client_claim", "azp"),
        word("user_claim", "sub"),
    );
    complaint_about("issuers/corp.toml", &text)
}

/// A profile with a word that nothing has in one place.
fn sandbox_with(key: &str) -> String {
    let word = |k: &str, usual: &str| if k == key { "no-such-word" } else { usual }.to_owned();
    let text = format!(
        "name = \"tools\"\nuid = 70001\nnetwork = \"{}\"\noptional = [\"{}\"]\n",
        word("network", "none"),
        word("optional", "user"),
    );
    complaint_about("sandboxes/tools.toml", &text)
}

/// A key that nothing has.
const FOREIGN: &str = "foreign_key";

#[test]
fn the_page_of_the_configuration_has_every_key_of_every_file_and_no_other() {
    let top = |text: &str| format!("{FOREIGN} = 1\n{text}");
    let below = |section: &'static str| {
        move |text: &str| text.replacen(section, &format!("{section}\n{FOREIGN} = 1"), 1)
    };
    let after = |more: &'static str| move |text: &str| format!("{text}\n{more}\n{FOREIGN} = 1\n");
    let settings = "countersign.toml";
    let capability = "capabilities/read_query.toml";
    let said = [
        ("countersign.toml", complaint(settings, top)),
        ("[site]", complaint(settings, below("[site]"))),
        ("[[tenants]]", complaint(settings, below("[[tenants]]"))),
        ("[listen]", complaint(settings, below("[listen]"))),
        ("[tpm]", complaint(settings, below("[tpm]"))),
        ("[release]", complaint(settings, below("[release]"))),
        ("[governance]", complaint(settings, below("[governance]"))),
        ("[bundle]", complaint(settings, below("[bundle]"))),
        ("[renewal]", complaint(settings, below("[renewal]"))),
        ("[recovery]", complaint(settings, below("[recovery]"))),
        ("[[witnesses]]", complaint(settings, after("[[witnesses]]"))),
        (
            "[witness_rule]",
            complaint(settings, after("[witness_rule]")),
        ),
        (
            "[[timestamping]]",
            complaint(settings, after("[[timestamping]]")),
        ),
        ("[telemetry]", complaint(settings, after("[telemetry]"))),
        ("[egress]", complaint(settings, after("[egress]"))),
        (
            "[profiles.<name>]",
            complaint(settings, after("[profiles.own]")),
        ),
        ("adapters/*.toml", complaint("adapters/customers.toml", top)),
        (
            "sandboxes/*.toml",
            complaint_about("sandboxes/tools.toml", &format!("{FOREIGN} = 1\n")),
        ),
        (
            "[limits]",
            complaint_about(
                "sandboxes/tools.toml",
                &format!(
                    "name = \"tools\"\nuid = 1\nnetwork = \"none\"\n[limits]\n{FOREIGN} = 1\n"
                ),
            ),
        ),
        ("agents/*.toml", complaint("agents/reader.toml", top)),
        ("approvers/*.toml", complaint("approvers/privacy.toml", top)),
        ("capabilities/*.toml", complaint(capability, top)),
        ("[num_calls]", complaint(capability, below("[num_calls]"))),
        (
            "[arguments.<name>]",
            complaint(capability, below("[arguments.query]")),
        ),
        (
            "shapes",
            complaint(capability, |text| {
                text.replacen("{ name =", &format!("{{ {FOREIGN} = 1, name ="), 1)
            }),
        ),
        (
            "[[redactions]]",
            complaint(capability, after("[[redactions]]")),
        ),
        (
            "[oauth]",
            complaint("agents/reader.toml", after("[oauth]\nissuer = \"x\"")),
        ),
        (
            "[run_budget]",
            complaint("agents/reader.toml", after("[run_budget]")),
        ),
        (
            "issuers/*.toml",
            complaint_about("issuers/corp.toml", &format!("{FOREIGN} = 1\n")),
        ),
        (
            "refusals.toml",
            complaint_about("refusals.toml", &format!("{FOREIGN} = 1\n")),
        ),
    ];
    let page = sections(&page("configuration.md"));
    for (heading, message) in said {
        let section = page
            .get(heading)
            .unwrap_or_else(|| panic!("no section {heading}"));
        assert_eq!(
            first_cells(section),
            expected_beside(&message, FOREIGN),
            "keys of {heading}"
        );
    }
}

#[test]
fn the_page_of_the_configuration_has_every_word_of_every_closed_list() {
    let page = page("configuration.md");
    let with = |file: &str, old: &str, new: &str| {
        complaint(file, |text| {
            assert!(text.contains(old), "{file} has no {old}");
            text.replacen(old, new, 1)
        })
    };
    let capability = "capabilities/read_query.toml";
    for message in [
        with(
            "adapters/customers.toml",
            "\"mcp-stdio\"",
            "\"no-such-word\"",
        ),
        with(capability, "\"read_only\"", "\"no-such-word\""),
        with(capability, "\"CONFIDENTIAL\"", "\"no-such-word\""),
        with(capability, "\"optional\"", "\"no-such-word\""),
        with(capability, "\"ascii_printable\"", "\"no-such-word\""),
        with(
            capability,
            "[arguments.query]",
            "[arguments.query]\ndestination = \"no-such-word\"",
        ),
        sandbox_with("network"),
        sandbox_with("optional"),
        issuer_with("algorithms"),
        issuer_with("token_type"),
        issuer_with("client_claim"),
        issuer_with("user_claim"),
    ] {
        let line = message
            .lines()
            .find(|l| l.contains("no-such-word"))
            .expect("a complaint");
        let (_, words) = line.split_once("one of ").expect("a closed list");
        for word in words.split(", ") {
            assert!(
                page.contains(&format!("`{word}`")),
                "{word} is not on the page: {line}"
            );
        }
    }
}

/// Which fields a built-in profile opens, and of which classes their content.
fn opened(name: &str) -> Disclosed {
    let profile = Profile::built_in(name).unwrap();
    let subject = match profile.whose() {
        Whose::OneSubject => Some(SubjectId([1; 32])),
        Whose::Everybody => None,
    };
    profile.disclosed(subject).unwrap()
}

#[test]
fn the_page_of_profiles_says_of_every_field_who_opens_it() {
    let page = page("profiles.md");
    let columns = ["auditor-soc2", "incident", "data-subject"];
    let head = page.lines().find(|l| l.starts_with("| field |")).unwrap();
    assert_eq!(code_words(head), columns);
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|l| l.starts_with("| `"))
        .map(|l| l.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let fields: Vec<&str> = rows.iter().map(|r| r[0].trim_matches('`')).collect();
    let all: Vec<&str> = Field::ALL.iter().map(|f| f.name()).collect();
    assert_eq!(fields, all);
    for (name, column) in columns.iter().zip(1..) {
        let Disclosed {
            fields, classes, ..
        } = opened(name);
        for (row, field) in rows.iter().zip(Field::ALL) {
            let limited = classes != Classification::ALL && field.is_content();
            let expected = match (fields.contains(field), limited) {
                (false, _) => "no",
                (true, false) => "yes",
                (true, true) => "content",
            };
            assert_eq!(row[column], expected, "{field} of {name}");
        }
    }
    let harmless = [Classification::Public, Classification::Internal];
    assert_eq!(opened("auditor-soc2").classes, harmless);
    for name in BUILT_IN {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

fn policy_complaint(policy: &str) -> String {
    let mut files = example();
    files
        .0
        .insert("policies/a.cedar".to_owned(), policy.to_owned());
    Site::parse(&files).unwrap_err().to_string()
}

#[test]
fn the_page_of_the_configuration_has_every_annotation_and_obligation() {
    let section = sections(&page("configuration.md"))
        .remove("Annotations")
        .expect("a section on annotations");
    let rows = first_cells(&section);
    let words = |message: &str| -> Vec<String> {
        let (_, list) = message.rsplit_once("expected ").expect("what was expected");
        list.trim_start_matches("one of ")
            .replace(" or ", ", ")
            .trim()
            .split(", ")
            .map(str::to_owned)
            .collect()
    };
    let annotation =
        policy_complaint("@id(\"a\") @foreign(\"\") forbid (principal, action, resource);");
    let line = annotation
        .lines()
        .find(|l| l.contains("@foreign"))
        .unwrap_or_else(|| panic!("{annotation}"));
    let annotations: BTreeSet<String> = words(line).iter().map(|w| format!("@{w}")).collect();
    assert_eq!(rows, annotations);
    let obligation = policy_complaint(
        "@id(\"a\") @obligation(\"foreign\") permit (principal, action, resource);",
    );
    let line = obligation
        .lines()
        .find(|l| l.contains("foreign"))
        .unwrap_or_else(|| panic!("{obligation}"));
    for word in words(line) {
        assert!(section.contains(&format!("`{word}`")), "{word}");
    }
}

// HTTP.

/// Method and path of every route, as the router's text declares them.
fn routes() -> BTreeSet<(String, String)> {
    let source = fs::read_to_string(root().join("enclave/src/doors/mod.rs")).unwrap();
    let mut out = BTreeSet::new();
    for part in source.split(".route(").skip(1) {
        let path = part.split('"').nth(1).expect("a path");
        let after = part.split_once(path).expect("the path").1;
        let end = after.find(".route(").unwrap_or(after.len());
        let mut handlers = after[..end].lines().take(5).collect::<String>();
        if let Some(layer) = handlers.find(".layer(") {
            handlers.truncate(layer);
        }
        for method in ["get", "post", "put", "delete", "patch"] {
            let called = |c: &str| handlers.contains(&format!("{c}{method}("));
            if called(" ") || called(".") || called(",") {
                out.insert((method.to_owned(), path.to_owned()));
            }
        }
    }
    out
}

#[test]
fn openapi_has_every_route_and_no_other() {
    let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |m| (m.clone(), path.clone()))
        })
        .collect();
    assert_eq!(described, routes());
    assert!(described.len() >= 10);
}

#[test]
fn openapi_has_every_code_of_a_refusal() {
    let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
    let listed: Vec<&str> =
        document["components"]["schemas"]["Refusal"]["properties"]["code"]["enum"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c.as_str().unwrap())
            .collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|c| c.name()).collect();
    assert_eq!(listed, codes);
}

#[test]
fn every_reference_inside_openapi_leads_somewhere() {
    fn walk<'v>(value: &'v serde_json::Value, found: &mut Vec<&'v str>) {
        match value {
            serde_json::Value::Object(members) => {
                found.extend(members.get("$ref").and_then(|r| r.as_str()));
                members.values().for_each(|v| walk(v, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|v| walk(v, found)),
            _ => (),
        }
    }
    let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
    let mut found = Vec::new();
    walk(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("a reference inside");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn the_page_of_the_interface_has_every_route() {
    let page = page("http.md");
    for (method, path) in routes() {
        let line = format!("`{} {}`", method.to_uppercase(), path);
        assert!(page.contains(&line), "{line}");
    }
}

// Telemetry.

/// Names of attributes and metrics: words that are joined by dots, under one of these.
fn is_telemetry(word: &str) -> bool {
    let first = word.split('.').next().unwrap_or_default();
    let known = [
        "countersign",
        "error",
        "gen_ai",
        "jsonrpc",
        "mcp",
        "service",
    ];
    let plain = |c: char| c.is_ascii_lowercase() || matches!(c, '.' | '_');
    word.contains('.') && word.chars().all(plain) && known.contains(&first)
}

#[test]
fn the_page_of_telemetry_has_every_name_that_is_sent_and_no_other() {
    let mut sent = BTreeSet::new();
    for file in ["otlp.rs", "view.rs"] {
        let path = root().join("enclave/src/telemetry").join(file);
        let source = fs::read_to_string(path).unwrap();
        let literals = source.split('"').skip(1).step_by(2);
        sent.extend(literals.filter(|l| is_telemetry(l)).map(str::to_owned));
    }
    let page = page("telemetry.md");
    let events: Vec<String> = countersign_record::body::EventKind::ALL
        .iter()
        .map(|k| format!("countersign.{}", k.name()))
        .collect();
    let named: BTreeSet<String> = code_words(&page)
        .into_iter()
        .filter(|w| is_telemetry(w) && *w != "countersign.toml")
        .filter(|w| !events.iter().any(|e| e == w))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, sent);
    assert!(sent.len() > 25);
}

#[test]
fn the_page_of_metrics_has_every_security_event_and_no_other() {
    let page = page("metrics.md");
    let (_, events) = page.split_once("## Security events").unwrap();
    let expected: BTreeSet<String> = SecurityEvent::ALL
        .iter()
        .map(|event| event.name().to_owned())
        .collect();
    assert_eq!(first_cells(events), expected);
}

// Coverage.

struct Row {
    id: String,
    state: String,
    implemented: String,
    shown: String,
}

fn coverage() -> Vec<Row> {
    page("coverage.md")
        .lines()
        .filter(|l| l.starts_with("| ") && !l.starts_with("| id "))
        .map(|l| {
            let cells: Vec<&str> = l.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 5, "{l}");
            Row {
                id: cells[0].to_owned(),
                state: cells[1].to_owned(),
                implemented: cells[2].to_owned(),
                shown: cells[3].to_owned(),
            }
        })
        .collect()
}

/// Names of all functions of the repository's own Rust and Python files.
fn functions() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut waiting: Vec<PathBuf> = [
        "enclave", "verifier", "policies", "tests", "benches", "demo", "clients", "witness",
    ]
    .iter()
    .map(|d| root().join(d))
    .collect();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let made = matches!(name.as_str(), "target" | "out" | "artifacts")
                    || path.ends_with("fuzz/corpus");
                if !made && !name.starts_with('.') {
                    waiting.push(path);
                }
                continue;
            }
            let keyword = match path.extension().and_then(|e| e.to_str()) {
                Some("rs") => "fn ",
                Some("py") => "def ",
                _ => continue,
            };
            let text = fs::read_to_string(&path).unwrap_or_default();
            out.extend(text.split(keyword).skip(1).filter_map(|rest| {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
                Some(rest[..end].to_owned())
            }));
        }
    }
    out
}

/// How many requirements there are. A new one comes with its row.
const REQUIREMENTS: usize = 128;

#[test]
fn every_requirement_stands_once_on_the_page_of_coverage() {
    let rows = coverage();
    let ids: BTreeSet<&str> = rows.iter().map(|r| r.id.as_str()).collect();
    assert_eq!((rows.len(), ids.len()), (REQUIREMENTS, REQUIREMENTS));
}

#[test]
fn the_page_of_coverage_claims_nothing_done_without_a_test() {
    for row in coverage() {
        let named = !code_words(&row.shown).is_empty();
        match row.state.as_str() {
            "done" => assert!(named, "{} is done, but no test is named", row.id),
            "partly" => assert!(
                !code_words(&row.implemented).is_empty(),
                "{} is partly there, but no place is named",
                row.id
            ),
            "open" => assert!(!named, "{} is open, but a test is named", row.id),
            other => panic!("{} has state {other}", row.id),
        }
    }
}

#[test]
fn every_path_and_test_on_the_page_of_coverage_exists() {
    let functions = functions();
    for row in coverage() {
        for path in code_words(&row.implemented) {
            assert!(root().join(path).exists(), "{}: no path {path}", row.id);
        }
        for test in code_words(&row.shown) {
            assert!(
                functions.contains(test) || root().join(test).exists(),
                "{}: no test {test}",
                row.id
            );
        }
    }
}

/// In prose, a word between backticks that is long and has many underscores is a test's name.
#[test]
fn every_test_that_prose_names_exists() {
    let functions = functions();
    let mut pages = vec![
        root().join("docs/known-failures.md"),
        root().join("docs/keys.md"),
        root().join("docs/threat-model.md"),
        root().join("CONTRIBUTING.md"),
    ];
    for entry in fs::read_dir(root().join("docs/decisions")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    let mut named = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let is_test = |w: &&str| {
            w.matches('_').count() >= 3
                && w.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        for test in code_words(&text).into_iter().filter(is_test) {
            assert!(
                functions.contains(test),
                "{}: no test {test}",
                page.display()
            );
            named += 1;
        }
    }
    assert!(named > 50, "only {named} tests are named");
}

/// Relative links and paths in every page of ours lead somewhere.
#[test]
fn every_relative_link_of_every_page_leads_somewhere() {
    let mut pages = vec![
        "README.md".into(),
        "CONTRIBUTING.md".into(),
        "SECURITY.md".into(),
    ];
    let mut waiting = vec![PathBuf::from("docs")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    for page in pages {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for rest in text.split("](").skip(1) {
            let link = rest.split([')', '#']).next().unwrap_or_default();
            if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let target = root().join(&page).parent().unwrap().join(link);
            assert!(target.exists(), "{}: {link}", page.display());
        }
    }
}

/// Words that claim more than can be shown.
#[test]
fn no_page_claims_more_than_can_be_shown() {
    let mut pages = vec![root().join("README.md"), root().join("SECURITY.md")];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    for page in pages
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
    {
        let text = fs::read_to_string(page).unwrap().to_lowercase();
        for word in ["tamper-proof", "tamperproof", "unforgeable", " compliant"] {
            assert!(!text.contains(word), "{}: {word}", page.display());
        }
    }
}

// docs/pin.py.

#[test]
fn the_script_that_pins_descriptors_computes_the_digest_that_the_gateway_compares() {
    use countersign_json::descriptor::{RawTool, descriptor_digest};
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let listing = concat!(
        r#"{"tools":[{"name":"plain","inputSchema":{"type":"object"}},"#,
        r#" {"title":"T\u00e9\"\\\n\u0001","annotations":{"b":1.50,"a":[1e3,null,true]},"name":"odd","#,
        r#""_meta":{"x":1},"outputSchema":null,"inputSchema":{"z":-0,"type":"object","ä":{}}}]}"#,
    );
    let mut child = Command::new("python3")
        .arg(root().join("docs/pin.py"))
        .arg("mine")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(listing.as_bytes())
        .unwrap();
    let done = child.wait_with_output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let printed: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("descriptor = \""))
        .map(|l| l.trim_end_matches('"'))
        .collect();
    let listing: BTreeMap<&str, Vec<&serde_json::value::RawValue>> =
        serde_json::from_str(listing).unwrap();
    let expected: Vec<String> = listing["tools"]
        .iter()
        .map(|tool| {
            let tool = RawTool::parse(tool.get().to_owned().into()).unwrap();
            descriptor_digest(&tool).unwrap().to_string()
        })
        .collect();
    assert_eq!(printed, expected);
}
