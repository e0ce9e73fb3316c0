//! What a site says when something is wrong, and what a good one means.

use crate::fixture::{example, plus, public, unsigned, with};
use countersign_policies::inspect::inspect;
use countersign_policies::site::capability::Tasks;
use countersign_policies::site::settings::{Protection, TlsFiles};
use countersign_policies::site::telemetry::TelemetrySettings;
use countersign_policies::{Site, SiteFiles, site};

/// All problems as lines.
fn problems(files: &SiteFiles) -> Vec<String> {
    let found = Site::parse(files).expect_err("a site that does not hold together");
    found.to_string().lines().map(str::to_owned).collect()
}

fn one(files: &SiteFiles) -> String {
    let found = problems(files);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

#[test]
fn the_example_holds_together() {
    let site = Site::parse(&example()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(site.content.capabilities.len(), 4);
    assert_eq!(site.settings.renewal_interval.as_secs(), 600);
}

#[test]
fn nothing_of_the_template_is_left_in_the_example() {
    for (path, text) in example().0 {
        assert!(
            !text
                .lines()
                .any(|l| l.split('@').count() > 2 && l.contains("@\"")),
            "{path}: {text}"
        );
        assert!(!text.contains("@DESCRIPTOR"), "{path}");
    }
}

#[test]
fn a_directory_reads_as_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let files = plus("refusals.toml", "contact = \"desk@example.org\"");
    for (path, text) in &files.0 {
        let file = directory.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    std::fs::create_dir(directory.path().join("journal")).unwrap();
    std::fs::write(directory.path().join("policies/.customers.cedar.swp"), "x").unwrap();
    assert_eq!(site::read(directory.path()).unwrap(), files);
}

#[test]
fn a_program_runs_without_a_sandbox_only_if_its_adapter_says_so() {
    let none = "sandbox = \"none\"";
    let said = one(&with("adapters/customers.toml", none, ""));
    assert!(
        said.contains("sandbox") && said.contains("gateway's own user"),
        "{said}"
    );
    let said = one(&with(
        "adapters/customers.toml",
        none,
        "sandbox = \"nobody\"",
    ));
    assert!(said.contains("nobody"), "{said}");
    let profile = "name = \"none\"\nuid = 70001\nnetwork = \"none\"\n";
    let said = one(&plus("sandboxes/none.toml", profile));
    assert!(said.contains("another name"), "{said}");
}

#[test]
fn a_directory_without_settings_says_so() {
    let mut files = example();
    files.0.remove("countersign.toml");
    assert_eq!(one(&files), "countersign.toml: the file is missing");
}

#[test]
fn a_key_that_does_not_exist_is_refused_with_its_line() {
    let found = one(&with(
        "agents/reader.toml",
        "tenant =",
        "tenent = \"x\"\ntenant =",
    ));
    assert!(
        found.starts_with("agents/reader.toml:3: unknown field `tenent`"),
        "{found}"
    );
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let found = one(&with(
        "capabilities/read_query.toml",
        "mode = \"read_only\"",
        "mode = \"read_only",
    ));
    assert!(
        found.starts_with("capabilities/read_query.toml:4: "),
        "{found}"
    );
}

#[test]
fn many_problems_are_shown_at_once() {
    let mut files = with(
        "countersign.toml",
        "interval_seconds = 600",
        "interval_seconds = 0",
    );
    files.0.insert(
        "agents/bad.toml".into(),
        "urn = \"bob\"\ntenant = \"x\"\ntoken_digest = \"00\"\n".into(),
    );
    files
        .0
        .insert("policies/customers.cedar.bak".into(), String::new());
    let found = problems(&files);
    assert_eq!(found.len(), 2, "{found:#?}");
    let toml = files.0.get_mut("countersign.toml").unwrap();
    *toml = toml.replace("interval_seconds = 0", "interval_seconds = 600");
    let found = problems(&files);
    assert_eq!(
        found,
        [
            "agents/bad.toml:1: urn is \"bob\", expected agent:<namespace>/<name>@<version>",
            "agents/bad.toml:2: tenant \"x\" is not declared in this site",
            "agents/bad.toml:3: token_digest is \"00\", expected 32 bytes in hexadecimal",
            "policies/customers.cedar.bak: this file has no place in a site, expected countersign.toml, refusals.toml, adapters/*.toml, \
             agents/*.toml, approvers/*.toml, capabilities/*.toml, descriptors/*.json, issuers/*.toml, jwks/*.json, policies/*.cedar, roots/*.pem, sandboxes/*.toml, schemas/*.json or trust-domains/*.toml",
        ]
    );
}

#[test]
fn an_unknown_mode_says_which_there_are() {
    let found = one(&with(
        "capabilities/read_query.toml",
        "mode = \"read_only\"",
        "mode = \"harmless\"",
    ));
    assert_eq!(
        found,
        "capabilities/read_query.toml:4: mode is \"harmless\", \
         expected one of read_only, local_write, network, delegated, destructive"
    );
}

#[test]
fn an_id_is_adapter_and_tool() {
    let found = one(&with(
        "capabilities/read_query.toml",
        "id = \"customers.read_query\"",
        "id = \"customers.read\"",
    ));
    assert!(
        found.contains("expected customers.read_query, adapter and tool"),
        "{found}"
    );
}

#[test]
fn a_second_capability_of_one_id_is_refused() {
    let text = example().0["capabilities/read_query.toml"].clone();
    let found = one(&plus("capabilities/twice.toml", &text));
    assert_eq!(
        found,
        "capabilities/twice.toml: capability \"customers.read_query\" is already declared in capabilities/read_query.toml"
    );
}

#[test]
fn two_parties_with_one_key_are_refused() {
    let key = format!("public_key = \"{}\"", public(6));
    let found = one(&with(
        "approvers/privacy.toml",
        &format!("public_key = \"{}\"", public(8)),
        &key,
    ));
    assert!(
        found.contains("is already declared in agents/erasure.toml"),
        "{found}"
    );
}

#[test]
fn an_adapter_that_is_not_declared_is_refused() {
    let mut files = example();
    files.0.remove("adapters/customers.toml");
    assert!(
        problems(&files)
            .iter()
            .all(|p| p.ends_with("adapter \"customers\" is not declared in this site"))
    );
}

#[test]
fn an_http_adapter_has_no_command() {
    let found = one(&plus(
        "adapters/other.toml",
        "name = \"other\"\nkind = \"mcp-http\"\nurl = \"http://127.0.0.1:9\"\ncommand = \"y\"\n",
    ));
    assert_eq!(
        found,
        "adapters/other.toml:2: command has no meaning for an adapter of kind mcp-http"
    );
}

#[test]
fn a_template_with_a_second_statement_is_refused() {
    let file = "capabilities/write_query.toml";
    let found = one(&with(
        file,
        "WHERE email = '{email}'\" }",
        "WHERE email = '{email}'; SELECT 1\" }",
    ));
    assert!(found.contains("which begins another statement"), "{found}");
}

#[test]
fn a_rule_that_means_nothing_for_its_type_is_refused() {
    let found = one(&with(
        "capabilities/describe_table.toml",
        "one_of = [\"customers\"]",
        "min = 3",
    ));
    assert!(
        found.contains("min needs an integer, but argument table_name is String"),
        "{found}"
    );
}

#[test]
fn a_pattern_that_would_break_out_of_its_anchor_is_refused() {
    let found = one(&with(
        "capabilities/describe_table.toml",
        "one_of = [\"customers\"]",
        "pattern = 'a)|(?:b'",
    ));
    assert!(found.contains("expected a pattern"), "{found}");
}

#[test]
fn a_rule_for_an_argument_that_does_not_exist_is_refused() {
    let found = one(&with(
        "capabilities/describe_table.toml",
        "[arguments.table_name]",
        "[arguments.table]",
    ));
    assert!(
        found.contains("argument \"table\" is not declared"),
        "{found}"
    );
}

#[test]
fn a_schema_that_policy_cannot_see_is_refused() {
    for (schema, words) in [
        (
            r#"{"type":"object","properties":{"x":{}}}"#,
            "/x has no type that policy could see",
        ),
        (
            r#"{"type":"object","properties":{"x":{"type":"array"}}}"#,
            "/x is a list without items",
        ),
        (r#"{"type":"array"}"#, "the schema is a list without items"),
        (
            r#"{"type":"object","patternProperties":{}}"#,
            "patternProperties",
        ),
        (
            r#"{"type":"object","properties":{"x":{"$ref":"http://example.org/s"}}}"#,
            "outside this schema",
        ),
        (
            r##"{"type":"object","properties":{"x":{"$ref":"#"}}}"##,
            "nests deeper",
        ),
        (
            r#"{"type":"object","required":["x"]}"#,
            "which properties does not name",
        ),
        ("{", "not JSON"),
    ] {
        let old = "'{ \"type\": \"object\", \"properties\": {}, \"additionalProperties\": false }'";
        let found = one(&with(
            "capabilities/list_tables.toml",
            old,
            &format!("'{schema}'"),
        ));
        assert!(
            found.starts_with("capabilities/list_tables.toml:7: input schema: "),
            "{found}"
        );
        assert!(found.contains(words), "{found}");
    }
}

#[test]
fn a_schema_can_stand_in_a_file_of_its_own() {
    let old = "input_schema = '{ \"type\": \"object\", \"properties\": {}, \"additionalProperties\": false }'";
    let mut files = with(
        "capabilities/list_tables.toml",
        old,
        "input_schema_file = \"schemas/none.json\"",
    );
    assert!(one(&files).contains("schema file \"schemas/none.json\" is not declared"));
    files
        .0
        .insert("schemas/none.json".into(), "{\"type\":\"object\"}".into());
    assert!(Site::parse(&files).is_ok());
}

/// The example with the descriptor of `list_tables` in a file of its own, and what its capability says of it.
fn kept(text: &str, says: &str) -> SiteFiles {
    let capability = "capabilities/list_tables.toml";
    let example = example();
    let old = example.0.get(capability).unwrap();
    let old = old.lines().find(|l| l.starts_with("descriptor")).unwrap();
    let mut files = with(capability, old, &says.replace("OLD", old));
    files
        .0
        .insert("descriptors/list.json".into(), text.to_owned());
    files
}

#[test]
fn a_descriptor_can_be_kept_as_a_text_which_has_the_digest_that_is_pinned() {
    let file = "descriptor_file = \"descriptors/list.json\"";
    let tools: serde_json::Value =
        serde_json::from_str(include_str!("../../example/tools.json")).unwrap();
    let listed = tools["tools"].as_array().unwrap();
    let tool = listed.iter().find(|t| t["name"] == "list_tables").unwrap();
    let text = serde_json::to_string_pretty(tool).unwrap();
    let pinned = |files: &SiteFiles| {
        let site = Site::parse(files).unwrap_or_else(|e| panic!("{e}"));
        let capability = &site.content.capabilities["customers.list_tables"];
        let text = capability.pinned.as_ref().map(|raw| raw.name().to_owned());
        (capability.descriptor, text)
    };
    let (digest, none) = pinned(&example());
    assert_eq!(none, None);
    let with_text = (digest, Some("list_tables".to_owned()));
    assert_eq!(pinned(&kept(&text, file)), with_text);
    assert_eq!(pinned(&kept(&text, &format!("OLD\n{file}"))), with_text);
    // What is signed is the text as well.
    assert_ne!(
        unsigned(&kept(&text, file)).digest(),
        unsigned(&kept(&text, "OLD")).digest()
    );
    let other = text.replace("List all", "Send all");
    assert_ne!(other, text);
    let said = one(&kept(&other, &format!("OLD\n{file}")));
    assert!(said.contains("which descriptor_file has"), "{said}");
    for (text, why) in [
        (
            text.replace("list_tables", "drop_tables"),
            "it is of the tool \"drop_tables\"",
        ),
        ("[]".to_owned(), "descriptor is not an object"),
    ] {
        let said = one(&kept(&text, file));
        assert!(said.contains(why), "{said}");
    }
    for path in ["descriptors/none.json", "schemas/list.json"] {
        let said = one(&kept(&text, &format!("descriptor_file = \"{path}\"")));
        assert!(
            said.contains("descriptor file") && said.contains("is not declared"),
            "{said}"
        );
    }
    assert!(one(&kept(&text, "")).contains("or descriptor_file"));
}

fn policy_problem(text: &str) -> String {
    one(&plus("policies/more.cedar", text))
}

#[test]
fn a_policy_without_an_id_is_refused() {
    let found = policy_problem("\n\npermit (principal, action, resource);");
    assert!(
        found.starts_with("policies/more.cedar:3: @id is missing"),
        "{found}"
    );
}

#[test]
fn a_policy_that_takes_a_builtin_id_is_refused() {
    let found = policy_problem("@id(\"builtin:x\")\npermit (principal, action, resource);");
    assert!(found.contains("@id is missing"), "{found}");
}

#[test]
fn broken_cedar_is_refused_with_its_line() {
    let found =
        policy_problem("@id(\"x\")\npermit (principal, action, resource)\nwhen { context. };");
    assert!(
        found.starts_with("policies/more.cedar:3: not Cedar: "),
        "{found}"
    );
}

#[test]
fn a_misspelt_annotation_is_refused() {
    let found = policy_problem(
        "@id(\"x\")\n@obligations(\"step_up\")\npermit (principal, action, resource);",
    );
    assert!(
        found.contains("annotation @obligations is not known"),
        "{found}"
    );
}

#[test]
fn a_misspelt_obligation_is_refused() {
    for word in ["stepup", "step_up defer", "redact:", "", "STEP_UP"] {
        let found = policy_problem(&format!(
            "@id(\"x\")\n@obligation(\"{word}\")\npermit (principal, action, resource);"
        ));
        assert!(
            found.contains("is not known, expected step_up"),
            "{word}: {found}"
        );
    }
}

#[test]
fn a_forbid_with_an_obligation_is_refused() {
    let found = policy_problem(
        "@id(\"x\")\n@obligation(\"step_up\")\nforbid (principal, action, resource);",
    );
    assert!(found.contains("a forbid obliges to nothing"), "{found}");
}

#[test]
fn a_quorum_that_is_no_number_of_people_is_refused() {
    for quorum in ["0", "two", "17", "-1"] {
        let text = format!(
            "@id(\"x\")\n@obligation(\"step_up\")\n@quorum(\"{quorum}\")\npermit (principal, action, resource);"
        );
        assert!(
            policy_problem(&text).contains("expected 1 to 16"),
            "{quorum}"
        );
    }
}

#[test]
fn a_quorum_without_step_up_is_refused() {
    let found = policy_problem("@id(\"x\")\n@quorum(\"2\")\npermit (principal, action, resource);");
    assert!(found.contains("need @obligation(\"step_up\")"), "{found}");
}

#[test]
fn a_quorum_that_cannot_be_reached_is_refused() {
    let text = "@id(\"x\")\n@obligation(\"step_up\")\n@quorum(\"2\")\n\
                permit (principal, action == Action::\"customers.write_query\", resource);";
    let found = policy_problem(text);
    assert!(
        found.contains("needs 2 approvers for customers.write_query of tenant demo, but only 1"),
        "{found}"
    );
}

#[test]
fn a_group_of_approvers_that_nobody_is_in_is_refused() {
    let text = "@id(\"x\")\n@obligation(\"step_up\")\n@approvers(\"board\")\n\
                permit (principal, action == Action::\"customers.write_query\", resource);";
    let found = problems(&plus("policies/more.cedar", text));
    assert!(
        found[0].contains("group of approvers \"board\" is not declared"),
        "{found:?}"
    );
}

#[test]
fn a_redaction_that_the_capability_does_not_have_is_refused() {
    let text = "@id(\"x\")\n@obligation(\"redact:mail\")\npermit (principal, action == Action::\"customers.read_query\", resource);";
    assert!(policy_problem(text).contains("has no redaction rule \"mail\""));
}

#[test]
fn a_policy_for_an_agent_that_does_not_exist_is_refused() {
    let text = "@id(\"x\")\npermit (principal == Agent::\"agent:demo/typo@1\", action, resource);";
    assert_eq!(
        policy_problem(text),
        "policies/more.cedar:1: Agent \"agent:demo/typo@1\" is not declared in this site"
    );
}

#[test]
fn a_policy_for_a_capability_that_does_not_exist_is_refused() {
    let text = "@id(\"x\")\npermit (principal, action == Action::\"customers.drop\", resource);";
    let found = problems(&plus("policies/more.cedar", text));
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("policies/more.cedar:2: ") && p.contains("unrecognized action")),
        "{found:?}"
    );
}

#[test]
fn a_policy_that_looks_at_an_argument_of_another_tool_is_ill_typed() {
    let text = "@id(\"x\")\npermit (principal, action == Action::\"customers.list_tables\", resource)\nwhen { context.input.query == \"x\" };";
    let found = policy_problem(text);
    assert!(
        found.starts_with("policies/more.cedar:3: policy \"x\": "),
        "{found}"
    );
}

#[test]
fn an_optional_argument_that_is_not_asked_for_first_is_ill_typed() {
    let text = "@id(\"x\")\npermit (principal, action == Action::\"customers.read_query\", resource)\nwhen { context.user == \"x\" };";
    assert!(
        policy_problem(text).contains("has"),
        "{}",
        policy_problem(text)
    );
}

#[test]
fn a_policy_that_can_never_hold_is_refused() {
    let text = "@id(\"x\")\npermit (principal, action == Action::\"customers.read_query\", resource)\nwhen { principal is Tenant };";
    assert!(policy_problem(text).starts_with("policies/more.cedar:"));
}

#[test]
fn a_policy_with_look_alike_letters_is_refused() {
    let text = "@id(\"x\")\npermit (principal, action == Action::\"customers.read_query\", resource)\nwhen { context.mode == \"re\u{430}d_only\" };";
    assert!(!problems(&plus("policies/more.cedar", text)).is_empty());
}

#[test]
fn a_template_is_refused() {
    let found = problems(&plus(
        "policies/more.cedar",
        "@id(\"x\")\npermit (principal == ?principal, action, resource);",
    ));
    assert!(found[0].contains("this is a template"), "{found:?}");
}

#[test]
fn two_policies_of_one_id_are_refused() {
    let found = policy_problem("@id(\"demo-may-read\")\npermit (principal, action, resource);");
    assert_eq!(
        found,
        "policies/more.cedar:1: policy \"demo-may-read\" is already declared in policies/customers.cedar:3"
    );
}

#[test]
fn a_threshold_above_the_signers_is_refused() {
    assert!(
        one(&with("countersign.toml", "threshold = 1", "threshold = 2"))
            .contains("expected 1 to 1")
    );
}

/// The example with another section on where it listens.
fn listening(section: &str) -> SiteFiles {
    let mut files = example();
    let text = files.0.get_mut("countersign.toml").unwrap();
    let (before, rest) = text.split_once("[listen]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    *text = format!("{before}[listen]\n{section}\n\n{after}");
    files
}

const TLS: &str = "[tls]\ncertificate = \"/run/tls/chain.pem\"\nkey = \"key.pem\"";

#[test]
fn the_way_to_the_gateway_is_tls_or_plain_http_on_loopback() {
    let protection = |section: &str| {
        let site = Site::parse(&listening(section)).unwrap_or_else(|e| panic!("{e}"));
        site.settings.listen.protection().clone()
    };
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1"] {
        let section = format!("address = \"{address}\"\nplain_http = true");
        assert_eq!(protection(&section), Protection::Loopback);
    }
    let files = Protection::Tls(TlsFiles {
        certificate: "/run/tls/chain.pem".into(),
        key: "key.pem".into(),
    });
    for address in ["0.0.0.0:8443", "127.0.0.1:1"] {
        let section = format!("address = \"{address}\"\n{TLS}");
        assert_eq!(protection(&section), files);
    }
}

#[test]
fn a_way_to_the_gateway_that_is_neither_is_refused_with_its_line() {
    let loopback = "address = \"127.0.0.1:1\"";
    for (section, said) in [
        (
            "address = \"192.0.2.1:1\"\nplain_http = true".to_owned(),
            "listen.address is \"192.0.2.1:1\", expected a loopback address",
        ),
        (loopback.to_owned(), "tls is missing, expected [tls] with"),
        (
            format!("{loopback}\nplain_http = false"),
            "tls is missing, expected [tls] with",
        ),
        (
            format!("{loopback}\nplain_http = true\n{TLS}"),
            "listen.plain_http is \"true\", expected false or nothing",
        ),
        (
            format!("{loopback}\n[tls]\ncertificate = \"\"\nkey = \"k\""),
            "tls.certificate is \"\", expected path of a PEM file",
        ),
        (
            "address = \"localhost:1\"\nplain_http = true".to_owned(),
            "listen.address is \"localhost:1\", expected an IP address and a port",
        ),
    ] {
        let found = one(&listening(&section));
        assert!(found.starts_with("countersign.toml:1"), "{found}");
        assert!(found.contains(said), "{found}");
    }
}

/// The root of the authority that made the tokens of `countersign-timestamps`' tests.
const ROOT: &[u8] = include_bytes!("../../../verifier/timestamps/testdata/openssl/ec-root.der");

/// The example with sections that name timestamping authorities, each as name, address and root.
fn stamped(authorities: &[(&str, &str, &str)]) -> SiteFiles {
    let sections: String = authorities
        .iter()
        .map(|(name, url, root)| {
            format!("\n[[timestamping]]\nname = \"{name}\"\nurl = \"{url}\"\nroot = \"{root}\"\n")
        })
        .collect();
    let mut files = example();
    files
        .0
        .get_mut("countersign.toml")
        .unwrap()
        .push_str(&sections);
    files
}

#[test]
fn timestamping_authorities_are_read_with_address_and_root() {
    let root = hex::encode(ROOT);
    let files = stamped(&[
        (" One Time ", "http://192.0.2.1:318", &root),
        ("Another", "http://time.example:80/tsa/stamp", &root),
    ]);
    let found = Site::parse(&files).unwrap().settings.timestamping;
    let said: Vec<_> = found
        .iter()
        .map(|a| {
            (
                a.name.as_str(),
                a.address.authority.as_str(),
                a.address.path.as_str(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("One Time", "192.0.2.1:318", ""),
            ("Another", "time.example:80", "/tsa/stamp")
        ]
    );
    assert_eq!(
        found[0].root,
        countersign_timestamps::Authority::parse(ROOT).unwrap()
    );
}

#[test]
fn an_address_of_an_authority_that_is_not_plain_http_is_refused() {
    let root = hex::encode(ROOT);
    for url in [
        "https://time.example:443/",
        "http://time.example/",
        "http://time.example:80/?q",
        "http://time.example:80/a b",
        "http://user@time.example:80/",
    ] {
        let found = one(&stamped(&[("A", url, &root)]));
        let words = "expected http://<host>:<port>, and a path where there is one";
        assert!(
            found.contains("timestamping.url") && found.ends_with(words),
            "{found}"
        );
    }
}

#[test]
fn a_root_that_is_none_is_refused_with_the_reason() {
    for (root, why) in [
        ("", "not a timestamp token"),
        ("root.pem", "not one certificate in pem"),
        ("3000", "not a timestamp token"),
    ] {
        let found = one(&stamped(&[("A", "http://time.example:80", root)]));
        assert!(
            found.contains("timestamping.root") && found.contains(why),
            "{found}"
        );
    }
}

#[test]
fn two_authorities_of_one_name_are_refused() {
    let root = hex::encode(ROOT);
    let url = "http://time.example:80";
    let found = one(&stamped(&[("A", url, &root), ("A ", url, &root)]));
    assert!(
        found.contains("timestamping authority \"A\" is already declared"),
        "{found}"
    );
}

#[test]
fn an_authority_without_a_name_is_refused() {
    let root = hex::encode(ROOT);
    let found = one(&stamped(&[(" ", "http://time.example:80", &root)]));
    assert!(found.contains("expected who the authority is"), "{found}");
}

fn sentences(files: &SiteFiles) -> String {
    inspect(&Site::parse(files).unwrap().content).join("\n")
}

#[test]
fn the_example_in_sentences() {
    let found = sentences(&example());
    for line in [
        "customers.write_query of tenant demo is destructive, its results are CONFIDENTIAL. At most 20 calls in 3600 seconds.",
        "  Its query may be, as delete_customer_by_email: DELETE FROM customers WHERE email = '{email}'",
        "  Group erasure-desk (agent:demo/erasure@1) may call customers.write_query if the policy's condition holds; \
         1 person in group privacy must approve first (erasure-may-delete-one, policies/customers.cedar:15).",
        "  Every call of customers.write_query needs approval in group privacy; enrolled: Privacy officer.",
        "  Every agent of demo may call customers.read_query (demo-may-read, policies/customers.cedar:3).",
    ] {
        assert!(
            found.lines().any(|l| l == line),
            "{line}\nis not in\n{found}"
        );
    }
}

#[test]
fn a_bundle_that_permits_everything_says_so() {
    let found = sentences(&plus(
        "policies/more.cedar",
        "@id(\"open\")\npermit (principal, action, resource);",
    ));
    assert!(
        found.contains(
            "WARNING: policy open (policies/more.cedar:1) permits every agent every capability"
        ),
        "{found}"
    );
}

#[test]
fn a_capability_that_nobody_can_reach_is_named() {
    let found = sentences(&with(
        "policies/customers.cedar",
        "action in [Action::\"customers.list_tables\", Action::\"customers.describe_table\"]",
        "action == Action::\"customers.list_tables\"",
    ));
    assert!(
        found.contains("Nobody can reach customers.describe_table"),
        "{found}"
    );
}

fn told(section: &str) -> SiteFiles {
    with(
        "countersign.toml",
        "[recovery]",
        &format!("[telemetry]\n{section}\n\n[recovery]"),
    )
}

#[test]
fn telemetry_goes_in_the_clear_to_this_machine_and_elsewhere_over_tls() {
    for (section, url, path) in [
        (
            "endpoint = \"http://127.0.0.1:4318\"",
            "http://127.0.0.1:4318",
            "",
        ),
        ("endpoint = \"http://[::1]:4318/\"", "http://[::1]:4318", ""),
        (
            "endpoint = \"http://localhost:4318/otlp/\"",
            "http://localhost:4318",
            "/otlp",
        ),
        (
            "endpoint = \"https://a.example\"\nca = \"ca.pem\"",
            "https://a.example",
            "",
        ),
        (
            "endpoint = \"https://a.example:4318/x\"\nca = \"ca.pem\"",
            "https://a.example:4318",
            "/x",
        ),
    ] {
        let site = Site::parse(&told(section)).unwrap_or_else(|e| panic!("{e}"));
        let collector = site.settings.telemetry.collector.expect("an endpoint");
        assert_eq!((collector.url(), collector.path()), (url, path));
        assert_eq!(collector.interval().as_secs(), 15);
    }
    let site = Site::parse(&told("scrape = \"127.0.0.1:9464\"")).unwrap_or_else(|e| panic!("{e}"));
    assert!(
        site.settings.telemetry.scrape.is_some() && site.settings.telemetry.collector.is_none()
    );
    let without = Site::parse(&example()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(without.settings.telemetry, TelemetrySettings::default());
}

#[test]
fn telemetry_to_nowhere_or_for_others_to_read_is_refused_with_its_line() {
    for (section, said) in [
        (
            "",
            "telemetry.endpoint is missing, expected http://127.0.0.1:4318",
        ),
        ("ca = \"ca.pem\"", "telemetry.endpoint is missing"),
        ("headers = \"key\"", "telemetry.endpoint is missing"),
        (
            "endpoint = \"http://127.0.0.1:4318\"\nheaders = \"\"",
            "expected path of a file of headers",
        ),
        ("interval_seconds = 15", "telemetry.endpoint is missing"),
        (
            "endpoint = \"http://192.0.2.1:4318\"",
            "expected https://, because what is sent in the clear stays",
        ),
        (
            "endpoint = \"http://a.example:4318\"",
            "expected https://, because what is sent in the clear stays",
        ),
        (
            "endpoint = \"http://localhost.example:4318\"",
            "expected https://, because what is sent in the clear stays",
        ),
        (
            "endpoint = \"https://a.example\"",
            "telemetry.ca is missing, expected a PEM file",
        ),
        (
            "endpoint = \"https://a.example\"\nca = \"\"",
            "telemetry.ca is \"\", expected path of a PEM file",
        ),
        (
            "endpoint = \"http://127.0.0.1:1\"\nca = \"a\"",
            "telemetry.ca is \"a\", expected nothing",
        ),
        (
            "endpoint = \"127.0.0.1:4318\"",
            "expected http://<host>:<port> or https://<host>",
        ),
        (
            "endpoint = \"http://127.0.0.1\"",
            "expected http://<host>:<port> or https://<host>",
        ),
        (
            "endpoint = \"http://user@127.0.0.1:1\"",
            "expected http://<host>:<port> or https://<host>",
        ),
        (
            "endpoint = \"http://127.0.0.1:1/?a\"",
            "expected http://<host>:<port> or https://<host>",
        ),
        (
            "endpoint = \"http://127.0.0.1:1\"\ninterval_seconds = 0",
            "telemetry.interval_seconds is \"0\", expected 1 to 600 seconds",
        ),
        (
            "scrape = \"0.0.0.0:9464\"",
            "telemetry.scrape is \"0.0.0.0:9464\", expected a loopback address",
        ),
        (
            "scrape = \"localhost:9464\"",
            "telemetry.scrape is \"localhost:9464\", expected a loopback address",
        ),
    ] {
        let found = one(&told(section));
        assert!(
            found.starts_with("countersign.toml:") && found.contains(said),
            "{section}: {found}"
        );
    }
}

#[test]
fn only_a_tool_may_be_answered_with_a_task_and_only_if_the_site_says_so() {
    let file = "capabilities/read_query.toml";
    let of = |files: &SiteFiles| {
        let site = Site::parse(files).unwrap_or_else(|e| panic!("{e}"));
        site.content.capabilities["customers.read_query"].tasks
    };
    assert_eq!(of(&example()), Tasks::Refused);
    let said = |value: &str| with(file, "mode =", &format!("tasks = {value}\nmode ="));
    assert_eq!(of(&said("true")), Tasks::Followed);
    assert_eq!(of(&said("false")), Tasks::Refused);
    assert!(one(&said("\"yes\"")).contains("boolean"));
    let list = "id = \"customers.resources/list\"\nadapter = \"customers\"\nmethod = \"resources/list\"\ntasks = true\n\
        mode = \"read_only\"\ndescription = \"x\"\nclassification = \"INTERNAL\"\nretention = \"90d\"\nresidency = \"eu\"\n\
        idempotency_key = \"optional\"\n";
    let refused = one(&plus("capabilities/list.toml", list));
    assert!(
        refused.contains("tasks") && refused.contains("only tools"),
        "{refused}"
    );
}
