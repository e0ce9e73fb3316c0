//! What each approval mode demands: a site that does not keep it is refused, and told what to write.

use crate::fixture::{READER, engine, example, facts, with};
use countersign_policies::decision::TokenFact;
use countersign_policies::{Outcome, Site, SiteFiles};

const FILE: &str = "capabilities/list_tables.toml";

/// A tool of the example under a mode, with more lines; an adapter over HTTP, so that something holds its calls to a list.
fn of(mode: &str, more: &str) -> SiteFiles {
    let mut files = with(FILE, "mode = \"read_only\"", &format!("mode = \"{mode}\""));
    let text = files.0.get_mut(FILE).unwrap();
    *text = text.replacen("destinations", &format!("{more}\ndestinations"), 1);
    files
}

fn over_http(mut files: SiteFiles) -> SiteFiles {
    let adapter =
        "name = \"customers\"\nkind = \"mcp-http\"\nurl = \"http://127.0.0.1:9000/mcp\"\n";
    files
        .0
        .insert("adapters/customers.toml".into(), adapter.into());
    files
}

fn said(files: &SiteFiles) -> Vec<String> {
    match Site::parse(files) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

#[track_caller]
fn refused(files: &SiteFiles, words: &[&str]) {
    let found = said(files);
    assert_eq!(found.len(), 1, "{found:#?}");
    for word in words {
        assert!(found[0].contains(word), "{found:?} has no {word:?}");
    }
}

const REACHES: &str = "endpoint_in = [\"api.example:443\"]";
const BUDGET: &str = "num_calls = { calls = 10, seconds = 60 }";

#[test]
fn a_local_write_needs_a_key_or_the_word_that_it_needs_none() {
    refused(
        &of("local_write", ""),
        &[FILE, ":4:", "idempotency_key", "required", "not_needed"],
    );
    for word in ["required", "not_needed"] {
        let mut files = of("local_write", "");
        let text = files.0.get_mut(FILE).unwrap();
        *text = text.replace("\"optional\"", &format!("\"{word}\""));
        assert_eq!(said(&files), [""; 0], "{word}");
    }
}

#[test]
fn what_only_reads_or_writes_here_reaches_no_other_host() {
    for mode in ["read_only", "local_write"] {
        let mut files = over_http(of(mode, &format!("{REACHES}\n{BUDGET}")));
        let text = files.0.get_mut(FILE).unwrap();
        *text = text.replace("\"optional\"", "\"required\"");
        refused(&files, &["mode", mode, "network, delegated or destructive"]);
    }
}

#[test]
fn the_network_needs_a_list_of_hosts_and_a_budget() {
    let good = over_http(of("network", &format!("{REACHES}\n{BUDGET}")));
    assert_eq!(said(&good), [""; 0]);
    refused(
        &over_http(of("network", BUDGET)),
        &["endpoint_in", "which the mode network demands"],
    );
    refused(&over_http(of("network", REACHES)), &["num_calls", "budget"]);
    assert_eq!(said(&over_http(of("network", ""))).len(), 2);
}

#[test]
fn a_list_of_hosts_that_nothing_holds_a_call_to_is_refused() {
    let files = of("network", &format!("{REACHES}\n{BUDGET}"));
    refused(&files, &["destination", "network = \"proxy\""]);
    let within = |network: &str| {
        let mut files = files.clone();
        let profile = format!("name = \"tools\"\nuid = 70001\nnetwork = \"{network}\"\n");
        files.0.insert("sandboxes/tools.toml".into(), profile);
        let adapter = files.0.get_mut("adapters/customers.toml").unwrap();
        *adapter = adapter.replacen("\"none\"", "\"tools\"", 1);
        files
    };
    assert_eq!(said(&within("proxy")), [""; 0]);
    refused(&within("none"), &["destination"]);
    // An argument that says where the call goes is held to the list.
    let file = "capabilities/read_query.toml";
    let mut files = with(file, "\"read_only\"", "\"network\"");
    let text = files.0.get_mut(file).unwrap();
    *text = text.replacen("destinations", &format!("{REACHES}\ndestinations"), 1);
    refused(&files, &["destination"]);
    let text = files.0.get_mut(file).unwrap();
    *text = text.replacen(
        "[arguments.query]",
        "[arguments.query]\ndestination = \"url\"",
        1,
    );
    assert_eq!(said(&files), [""; 0]);
}

#[test]
fn who_acts_for_a_person_says_under_which_scopes() {
    refused(
        &of("delegated", ""),
        &["scopes", "which the mode delegated demands"],
    );
    assert_eq!(said(&of("delegated", "scopes = [\"tables\"]")), [""; 0]);
    refused(
        &of("delegated", "scopes = [\"two words\"]"),
        &["scopes", "without space"],
    );
    refused(
        &of("read_only", "scopes = [\"tables\"]"),
        &["scopes", "delegated alone"],
    );
}

#[test]
fn a_token_that_does_not_reach_as_far_is_denied() {
    let engine = engine(&of("delegated", "scopes = [\"tables\", \"list\"]"));
    let decided = |scopes: &[&str]| {
        let mut facts = facts(&engine, READER, "list_tables", &serde_json::Map::new());
        facts.user = Some("corp:ada".to_owned());
        facts.token = Some(TokenFact {
            issuer: "corp".to_owned(),
            client: "desk".to_owned(),
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
            principals: Vec::new(),
        });
        engine.decide(&facts)
    };
    for short in [&[][..], &["tables"], &["list", "other"]] {
        let decision = decided(short);
        assert_eq!(decision.outcome, Outcome::Deny);
        assert_eq!(decision.policies, ["builtin:scope-missing"]);
    }
    // What its own check lets through, policy decides: here the site has no issuer, and facts of one are not its types.
    let decision = decided(&["list", "other", "tables"]);
    assert_ne!(decision.policies, ["builtin:scope-missing"]);
}

#[test]
fn what_may_destroy_is_permitted_only_where_somebody_may_approve_it() {
    let mut files = of("destructive", "");
    refused(
        &files,
        &[
            "policies/customers.cedar:",
            "permits customers.list_tables, which is destructive",
            "nobody is enrolled for tenant demo",
        ],
    );
    let officer = files.0.get_mut("approvers/privacy.toml").unwrap();
    *officer = officer.replacen(
        "[\"customers.write_query\"]",
        "[\"customers.write_query\", \"customers.list_tables\"]",
        1,
    );
    assert_eq!(said(&files), [""; 0]);
    // Where nobody can reach it, there is nothing to approve.
    let mut unreached = example();
    let text = unreached.0[FILE].replace("list_tables", "drop_tables");
    let text = text.replace("read_only", "destructive");
    unreached
        .0
        .insert("capabilities/drop_tables.toml".into(), text);
    assert_eq!(said(&unreached), [""; 0]);
}
