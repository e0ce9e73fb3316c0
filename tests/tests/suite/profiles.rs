//! Disclosure profiles, as exporters, auditors and subjects meet them: what exactly is opened, to whom, of whom.
//!
//! What a profile opens is written down here once more, by hand: neither the gateway's table nor the rule that the
//! verifier shares with it is asked.

use super::operator::parts::{Leaf, Parts};
use countersign_record::body::{Action, Classification};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::TenantId;
use countersign_record::entry::{Body, Entry, Payload};
use countersign_tests::auditor::{Log, Logged, Verdict, manifest};
use countersign_tests::client::Client;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::site::ALPHA;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A person of the north whom `gamma` acts for.
const ADA: &str = "ada@example.org";

const OWN: &str =
    "[profiles.ours]\nfields = [\"agent\", \"received-input\"]\nclasses = [\"CONFIDENTIAL\"]\n";

/// A machine with tools of all classifications, two subjects in the north, and people who may export less than all.
fn machine() -> Machine {
    let machine = Machine::enrolled();
    let site = machine.site();
    site.classify("read", "PUBLIC");
    site.classify("northern", "CONFIDENTIAL");
    site.classify("scarce", "RESTRICTED");
    site.add_agent(
        "gamma",
        &format!("tenant = \"north\"\nuser = \"{ADA}\"\ngroups = [\"north\"]"),
    );
    let exporter = |tenants: &str| format!("groups = [\"exporter\"]\ntenants = [{tenants}]");
    site.add_person("southern", &exporter("\"south\""));
    let limited = format!(
        "{}\nprofiles = [\"auditor-soc2\", \"nothing\"]",
        exporter("\"north\", \"south\"")
    );
    site.add_person("soc2", &limited);
    site.append_settings(OWN);
    site.build();
    machine
}

#[track_caller]
fn call(client: &mut Client, tool: &str, line: &str) -> Value {
    let mut body = json!({ "capability": format!("effects.{tool}"), "session": "a session", "idempotency_key": line });
    body["arguments"] = json!({ "line": line });
    client.call_with(body).unwrap().body
}

/// Calls of every kind: of each classification, of both tenants, halted and approved, denied, and one whose outcome nobody knows.
fn served(machine: &Machine) -> Gateway {
    let mut gateway = machine.start();
    let mut alpha = gateway.alpha();
    let mut killing = json!({ "capability": "effects.kill", "idempotency_key": "killing" });
    killing["arguments"] = json!({ "line": "internal unknown", "when": "after" });
    assert!(alpha.call_with(killing).is_err());
    gateway.kill();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    for (tool, line) in [
        ("read", "public north"),
        ("append", "internal north"),
        ("northern", "confidential north"),
        ("append", "internal gone"),
    ] {
        let answer = call(&mut alpha, tool, line);
        assert_eq!(answer["status"], "ok", "{answer}");
    }
    // A restricted result is recorded and not given to an agent.
    let answer = call(&mut alpha, "scarce", "restricted north");
    assert_eq!(answer["status"], "refused", "{answer}");
    let answer = call(&mut gateway.beta(), "northern", "confidential denied");
    assert_eq!(answer["refusal"]["code"], "policy_denied", "{answer}");
    let answer = call(&mut gateway.beta(), "read", "public south");
    assert_eq!(answer["status"], "ok", "{answer}");
    let mut gamma = gateway.client_with("gamma.key");
    let answer = call(&mut gamma, "northern", "confidential of ada");
    assert_eq!(answer["status"], "ok", "{answer}");
    approved(&gateway, "internal erased by approval");
    gateway
}

/// A call that people approve before it is carried out.
fn approved(gateway: &Gateway, line: &str) {
    let mut alpha = gateway.alpha();
    let halted = call(&mut alpha, "erase", line);
    assert_eq!(halted["refusal"]["code"], "approval_required", "{halted}");
    let waiting = gateway.officer().get("/v1/approvals").unwrap().json();
    let action = waiting["waiting"][0]["action"]
        .as_str()
        .unwrap_or_else(|| panic!("{waiting}"));
    let said = gateway.approve(&["yes", action]);
    assert!(said.contains("approve"), "{said}");
    let mut again = json!({ "capability": "effects.erase", "idempotency_key": "again" });
    again["arguments"] = json!({ "line": line });
    assert!(alpha.call_with(again).unwrap().is_ok());
}

/// A call's capability, as its intent or decision names it.
fn capability(entry: &Logged) -> Option<String> {
    match (&entry.payload.body, entry.intent()) {
        (_, Some(intent)) => Some(Action::from_bytes(&intent.action.0).unwrap().capability.id),
        (Body::Decision(decision), None) => Some(decision.capability.as_ref()?.id.clone()),
        (_, None) => None,
    }
}

/// Classification of the call that an entry is about, by the site's files; of one whose outcome nobody knows it is not recorded.
fn class(entry: &Logged) -> Option<Classification> {
    match capability(entry)?.strip_prefix("effects.")? {
        "kill" => None,
        "read" => Some(Classification::Public),
        "northern" => Some(Classification::Confidential),
        "scarce" => Some(Classification::Restricted),
        _ => Some(Classification::Internal),
    }
}

fn is_of_a_call(entry: &Logged) -> bool {
    entry.intent().is_some() || entry.decision().is_some()
}

const CONTENT: [&str; 8] = [
    "caller-proof",
    "received-input",
    "forwarded-input",
    "raw-result",
    "released-result",
    "facts",
    "idempotency-key",
    "preview",
];

/// What a profile opens of an entry of which everything is known to be `of`.
fn opens(profile: &str, entry: &Logged, of: &str) -> bool {
    let class = class(entry);
    let is_content = is_of_a_call(entry) && CONTENT.contains(&of);
    match profile {
        "everything" => true,
        "nothing" => false,
        "incident" => of != "hold-statement",
        "auditor-soc2" => {
            let harmless = matches!(
                class,
                Some(Classification::Public | Classification::Internal)
            );
            !["session", "raw-result", "idempotency-key"].contains(&of) && (!is_content || harmless)
        }
        "ours" => {
            of == "agent" || (of == "received-input" && class == Some(Classification::Confidential))
        }
        "data-subject" => {
            let who = ["agent", "user", "session"];
            let theirs = entry
                .disclosures
                .iter()
                .any(|d| d.field == Field::User && d.value.0 == ADA.as_bytes())
                || capability(entry).is_some() && entry_of_ada(entry);
            theirs && (who.contains(&of) || (is_content && !["raw-result", "facts"].contains(&of)))
        }
        other => panic!("{other}"),
    }
}

/// Whether it is an entry of a call of Ada's: the only confidential one of the north that is not alpha's.
fn entry_of_ada(entry: &Logged) -> bool {
    let holds =
        |d: &Disclosure| String::from_utf8_lossy(&d.value.0).contains("confidential of ada");
    entry.disclosures.iter().any(holds)
}

/// Every opened value: place in the log, and field.
fn opened(log: &Log) -> BTreeSet<(u64, &'static str)> {
    let of = |e: &Logged| {
        let index = e.payload.place.index;
        let fields = e.disclosures.iter().map(|d| d.field.name());
        fields.map(move |f| (index, f)).collect::<Vec<_>>()
    };
    log.0.iter().flat_map(of).collect()
}

fn has(export: &Path, needle: &str) -> bool {
    let bytes = fs::read(export).unwrap();
    bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
}

/// Whether what an export that broke off left behind has this in it: nothing, if it broke off before its first byte.
fn left_behind(export: &Path, needle: &str) -> bool {
    let partial = export.with_extension("partial");
    partial.exists() && has(&partial, needle)
}

/// Whether an opened value of some entry has this name in it.
fn names_somebody(export: &Path, name: &str) -> bool {
    let all = Log::read(export).0;
    let mut values = all.iter().flat_map(|e| &e.disclosures);
    values.any(|d| String::from_utf8_lossy(&d.value.0).contains(name))
}

fn expect_verified(verdict: &Verdict) {
    verdict.assert_verified();
    assert_eq!(verdict.count("values_missing"), 0, "{}", verdict.text);
}

#[test]
fn each_profile_opens_exactly_what_it_says_and_leaves_the_records_as_they_are() {
    let machine = machine();
    let gateway = served(&machine);
    let gone = Log::read(&gateway.export())
        .intents()
        .find(|(e, _)| e.line().as_deref() == Some("internal gone"))
        .map(|(_, i)| i.call.to_string())
        .unwrap();
    gateway
        .order(&[
            "hold",
            "place",
            "--id",
            "17",
            "--reason",
            "a dispute",
            "--entries",
            "0..1",
        ])
        .unwrap();
    gateway
        .order(&["erase", "--call", &gone, "--basis", "gdpr-17"])
        .unwrap();
    let everything = gateway.export();
    let whole = Log::read(&everything);
    let everywhere: BTreeSet<&str> = opened(&whole).into_iter().map(|(_, f)| f).collect();
    for field in CONTENT {
        assert!(everywhere.contains(field), "{field} is in no entry");
    }
    expect_verified(&machine.auditor().verify(&everything));
    let subject = ["--subject", ADA, "--tenant", "north"];
    for (profile, more) in [
        ("everything", &[][..]),
        ("auditor-soc2", &[]),
        ("incident", &[]),
        ("ours", &[]),
        ("nothing", &[]),
        ("data-subject", &subject),
    ] {
        let export = gateway.export_of(&[&["--profile", profile], more].concat());
        let log = Log::read(&export);
        let expected: BTreeSet<(u64, &str)> = whole
            .0
            .iter()
            .flat_map(|e| {
                let fields = e.disclosures.iter().map(|d| d.field.name());
                let chosen = fields.filter(|f| opens(profile, e, f));
                chosen
                    .map(|f| (e.payload.place.index, f))
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(opened(&log), expected, "{profile}");
        assert_eq!(expected.is_empty(), profile == "nothing", "{profile}");
        // The entries are those of the whole log, byte for byte; of a tenant's part some are given by hash.
        let digests = |log: &Log| {
            let all = log.0.iter().map(|e| (e.payload.place.index, e.digest));
            all.collect::<BTreeSet<_>>()
        };
        assert!(digests(&log).is_subset(&digests(&whole)), "{profile}");
        assert_eq!(
            digests(&log) == digests(&whole),
            more.is_empty(),
            "{profile}"
        );
        let manifest = manifest(&export);
        assert_eq!(manifest.profile, profile);
        assert_eq!(
            manifest.disclosed.subject.is_some(),
            profile == "data-subject"
        );
        assert!(!has(&export, "internal gone"), "{profile}");
        expect_verified(&machine.auditor().verify(&export));
    }
}

#[test]
fn what_a_profile_withholds_stands_nowhere_in_the_file() {
    let machine = machine();
    let gateway = served(&machine);
    let lines = [
        "public north",
        "internal north",
        "internal unknown",
        "confidential north",
        "confidential denied",
        "restricted north",
        "public south",
        "confidential of ada",
    ];
    for (profile, more, seen) in [
        ("everything", &[][..], &lines[..]),
        ("incident", &[], &lines),
        ("nothing", &[], &[]),
        (
            "auditor-soc2",
            &[],
            &["public north", "internal north", "public south"],
        ),
        (
            "ours",
            &[],
            &[
                "confidential north",
                "confidential denied",
                "confidential of ada",
            ],
        ),
        (
            "data-subject",
            &["--subject", ADA, "--tenant", "north"],
            &["confidential of ada"],
        ),
    ] {
        let export = gateway.export_of(&[&["--profile", profile], more].concat());
        for line in lines {
            assert_eq!(
                has(&export, line),
                seen.contains(&line),
                "{profile}: {line}"
            );
        }
        // Names that the bundle has are in every export; whose call it was is not.
        let names = ["everything", "incident", "auditor-soc2", "data-subject"];
        assert_eq!(
            names_somebody(&export, ADA),
            names.contains(&profile),
            "{profile}"
        );
    }
}

#[test]
fn a_data_subject_sees_its_own_calls_and_no_others() {
    let machine = machine();
    let gateway = served(&machine);
    let export = |name: &str| {
        gateway.export_of(&[
            "--profile",
            "data-subject",
            "--tenant",
            "north",
            "--subject",
            name,
        ])
    };
    for (name, theirs) in [(ADA, "confidential of ada"), (ALPHA, "internal north")] {
        let path = export(name);
        let subject = manifest(&path).disclosed.subject.unwrap();
        let mut seen = 0;
        for entry in Log::read(&path).0 {
            let asking = entry.intent().map(|i| &i.caller);
            let asking = asking.or_else(|| entry.decision().map(|d| &d.caller));
            let caller = asking.and_then(|c| c.subject);
            if caller == Some(subject) {
                seen += entry.disclosures.len();
            } else {
                assert!(
                    entry.disclosures.is_empty(),
                    "{name}: {:?}",
                    entry.payload.place
                );
            }
        }
        assert!(seen > 0 && has(&path, theirs), "{name}");
        expect_verified(&machine.auditor().verify(&path));
    }
    assert!(!names_somebody(&export(ALPHA), ADA));
    assert!(!names_somebody(&export(ADA), ALPHA));
}

#[test]
fn what_was_withheld_is_not_missing_and_what_was_left_out_is() {
    let machine = machine();
    let gateway = served(&machine);
    let soc2 = gateway.export_of(&["--profile", "auditor-soc2"]);
    let verdict = machine.auditor().verify(&soc2);
    expect_verified(&verdict);
    assert!(verdict.count("values_withheld") > 0);
    assert_eq!(verdict.state("missing-disclosures"), "pass");
    let nothing = machine
        .auditor()
        .verify(&gateway.export_of(&["--profile", "nothing"]));
    expect_verified(&nothing);
    assert_eq!(nothing.count("values_opened"), 0);
    assert_eq!(nothing.state("disclosures"), "not-checked");
    // Whoever hands it over leaves out one value that the profile promises: what a public call asked for.
    let mut parts = Parts::read(&soc2);
    let left_out = parts.leaves.iter_mut().find_map(|leaf| match leaf {
        Leaf::Entry(_, opened) => {
            let asked = |d: &Disclosure| {
                d.field == Field::Received
                    && String::from_utf8_lossy(&d.value.0).contains("public north")
            };
            let place = opened.iter().position(asked)?;
            Some(opened.remove(place))
        }
        Leaf::Hash(_) | Leaf::Span(_) => None,
    });
    assert!(left_out.is_some());
    let verdict = machine.auditor().verify(&parts.write(&soc2));
    assert_eq!(
        (verdict.exit_code, verdict.first_failure()),
        (1, "missing-disclosures"),
        "{}",
        verdict.complaints()
    );
}

/// An intent at the edge of a period is there without the record that settles its call: nothing tells a reader of which
/// classification it is, and gateway and verifier agree that it has none.
#[test]
fn an_intent_whose_record_the_export_has_not_is_of_no_classification() {
    let machine = machine();
    let gateway = served(&machine);
    let whole = Log::read(&gateway.export());
    let public: Vec<_> = whole
        .intents()
        .filter(|(e, _)| class(e) == Some(Classification::Public))
        .map(|(e, _)| (e.payload.place.index, e.payload.place.at.0.to_string()))
        .collect();
    let (edge, until) = &public[0];
    for (profile, content) in [("auditor-soc2", false), ("everything", true)] {
        let export = gateway.export_of(&["--profile", profile, "--until", until]);
        let log = Log::read(&export);
        let (entry, intent) = log
            .intents()
            .find(|(e, _)| e.payload.place.index == *edge)
            .unwrap();
        assert!(!log.decisions().any(|(_, d)| d.call == intent.call));
        assert_eq!(
            entry.disclosed(Field::Received).is_some(),
            content,
            "{profile}"
        );
        assert!(entry.disclosed(Field::Agent).is_some(), "{profile}");
        let verdict = machine.auditor().verify(&export);
        assert_eq!(verdict.count("values_missing"), 0, "{}", verdict.text);
        assert_ne!(verdict.exit_code, 1, "{}", verdict.complaints());
    }
}

#[test]
fn a_profile_that_a_person_may_not_have_is_refused_and_so_is_one_that_there_is_not() {
    let machine = machine();
    let gateway = machine.start();
    let refused = |key: &str, limits: &[&str]| {
        let (path, result) = gateway.try_export_as(key, limits);
        assert!(!path.exists());
        result.unwrap_err()
    };
    let words =
        "this person may not export under profile everything; ask for auditor-soc2 or nothing";
    for limits in [&[][..], &["--profile", "everything"]] {
        let said = refused("soc2.key", limits);
        assert!(said.contains("403") && said.contains(words), "{said}");
    }
    // Whoever is limited is not told which other profiles there are.
    for profile in ["incident", "ours", "no-such"] {
        let said = refused("soc2.key", &["--profile", profile]);
        assert!(said.contains("403 Forbidden"), "{said}");
    }
    for profile in ["auditor-soc2", "nothing"] {
        let (path, result) = gateway.try_export_as("soc2.key", &["--profile", profile]);
        result.unwrap();
        assert_eq!(manifest(&path).profile, profile);
    }
    let officer = countersign_tests::site::OFFICER_KEY;
    let subject = ["--subject", "nobody", "--tenant", "north"];
    for (limits, status, words) in [
        (
            vec!["--profile", "auditor-soc3"],
            "400",
            "there is no profile auditor-soc3",
        ),
        (
            vec!["--profile", "data-subject"],
            "400",
            "profile data-subject opens the values of one subject",
        ),
        (
            [&["--profile", "incident"], &subject[..]].concat(),
            "400",
            "profile incident is not of one subject",
        ),
        (
            [&["--profile", "data-subject"], &subject[..]].concat(),
            "404",
            "nobody of that name is known",
        ),
    ] {
        let said = refused(officer, &limits);
        assert!(said.contains(status) && said.contains(words), "{said}");
    }
    let mut client = gateway.officer();
    let mut get = |query: &str| {
        let response = client.get(&format!("/v1/export?{query}")).unwrap();
        (
            response.status,
            String::from_utf8_lossy(&response.body).into_owned(),
        )
    };
    let (status, said) = get("profile=data-subject&subject=x");
    assert_eq!(
        (status, said.trim()),
        (400, "name the subject's tenant, too")
    );
    let of = "ab".repeat(32);
    let (status, said) = get(&format!(
        "profile=data-subject&subject=x&tenant=north&gateway={of}"
    ));
    assert_eq!(status, 400);
    assert!(said.contains("cannot be looked up by name"), "{said}");
}

#[test]
fn an_exporter_of_one_tenant_gets_that_tenant_and_nothing_else() {
    let machine = machine();
    let gateway = served(&machine);
    let whole = Log::read(&gateway.export());
    let run = |tool: &str, text: &str| {
        let mut intents = whole.intents();
        let found = intents.find(|(e, _)| {
            capability(e).as_deref() == Some(tool) && e.line().as_deref() == Some(text)
        });
        let run = found.unwrap().0.payload.place.run.as_ref().unwrap().run;
        run.to_string()
    };
    let northern = run("effects.append", "internal north");
    let southern = run("effects.read", "public south");
    let mut client = gateway.client_with("southern.key");
    let mut get = |query: &str| client.get(&format!("/v1/export{query}")).unwrap();
    for (query, status) in [
        ("", 403),
        ("?profile=nothing", 403),
        ("?from=1", 403),
        ("?tenant=north", 403),
        ("?tenant=no-such", 403),
        (format!("?run={northern}").as_str(), 404),
        (format!("?tenant=south&run={northern}").as_str(), 404),
        (
            "?profile=data-subject&tenant=north&subject=ada%40example.org",
            403,
        ),
        (
            "?profile=data-subject&tenant=south&subject=ada%40example.org",
            404,
        ),
    ] {
        assert_eq!(get(query).status, status, "{query}");
    }
    // A run is looked for below the tenant that is named, also for whom both tenants are theirs.
    let mut officer = gateway.officer();
    let mut status = |query: String| officer.get(&query).unwrap().status;
    let of_run = |tenant: &str| format!("/v1/export?tenant={tenant}&run={northern}");
    assert_eq!(
        (status(of_run("south")), status(of_run("north"))),
        (404, 200)
    );
    let south = whole
        .intents()
        .find(|(e, _)| e.line().as_deref() == Some("public south"))
        .and_then(|(e, _)| e.payload.place.tenant.as_ref())
        .map(|t| t.tenant)
        .unwrap();
    for query in ["?tenant=south".to_owned(), format!("?run={southern}")] {
        let response = get(&query);
        assert_eq!(response.status, 200, "{query}");
        let path = machine.path().join(countersign_tests::unique("south"));
        fs::write(&path, &response.body).unwrap();
        let log = Log::read(&path);
        let mut theirs = 0;
        for entry in &log.0 {
            if let Some(place) = &entry.payload.place.tenant {
                assert_eq!(place.tenant, south, "{query}: {:?}", entry.payload.place);
                theirs += 1;
            }
        }
        assert!(theirs > 0 && has(&path, "public south"), "{query}");
        for line in ["public north", "internal north"] {
            assert!(!has(&path, line), "{query}: {line}");
        }
        for name in [ALPHA, ADA] {
            assert!(!names_somebody(&path, name), "{query}: {name}");
        }
        let verdict = machine.auditor().verify(&path);
        assert_ne!(verdict.exit_code, 1, "{}", verdict.complaints());
    }
}

/// The operator writes the settings; what a profile means is what the bundle's signers signed.
#[test]
fn a_profile_that_the_operator_widens_stays_as_it_was_signed() {
    let machine = machine();
    let mut gateway = served(&machine);
    assert!(gateway.stop().success());
    machine.site().edit(
        "fields = [\"agent\", \"received-input\"]\nclasses = [\"CONFIDENTIAL\"]",
        "fields = [\"agent\", \"received-input\"]\nclasses = [\"CONFIDENTIAL\", \"RESTRICTED\"]",
    );
    let gateway = machine.start();
    gateway
        .process
        .wait_said("the profiles in countersign.toml are not those of the signed bundle");
    let export = gateway.export_of(&["--profile", "ours"]);
    assert!(has(&export, "confidential north") && !has(&export, "restricted north"));
}

/// Changes an entry under the running gateway, and leaves its signature as it was; what stood there before.
fn change(machine: &Machine, index: u64, change: impl FnOnce(&mut Payload)) -> Vec<u8> {
    let store = rusqlite::Connection::open(machine.state().join("log/log.sqlite")).unwrap();
    let select = "SELECT bytes FROM entry WHERE idx = ?1";
    let before: Vec<u8> = store
        .query_row(select, [i64::try_from(index).unwrap()], |row| row.get(0))
        .unwrap();
    let entry = Entry::parse(&before).unwrap();
    let mut payload = entry.payload().clone();
    change(&mut payload);
    let changed = payload
        .unsigned(entry.kid())
        .with_signature(entry.signature());
    put(machine, index, &changed);
    before
}

fn put(machine: &Machine, index: u64, bytes: &[u8]) {
    let store = rusqlite::Connection::open(machine.state().join("log/log.sqlite")).unwrap();
    let update = "UPDATE entry SET bytes = ?1 WHERE idx = ?2";
    assert_eq!(
        store
            .execute(update, (bytes, i64::try_from(index).unwrap()))
            .unwrap(),
        1
    );
}

/// The log was checked at the start; the operator changes a row after that, for an exporter who is limited.
#[test]
fn a_row_that_is_changed_under_a_running_gateway_shows_nobody_what_is_not_theirs() {
    let machine = machine();
    let gateway = served(&machine);
    let whole = Log::read(&gateway.export());
    let of = |line: &str| {
        let mut intents = whole.intents();
        let (entry, intent) = intents
            .find(|(e, _)| e.line().as_deref() == Some(line))
            .unwrap();
        let mut decisions = whole.decisions();
        let (settling, _) = decisions.find(|(_, d)| d.call == intent.call).unwrap();
        (entry.payload.place.index, settling.payload.place.index)
    };
    // A confidential call is made a public one.
    let (_, decision) = of("confidential north");
    let before = change(&machine, decision, |payload| {
        let Body::Decision(decision) = &mut payload.body else {
            panic!("it is a decision");
        };
        decision.handling.as_mut().unwrap().classification = Classification::Public;
    });
    let (path, result) = gateway.try_export_as("soc2.key", &["--profile", "auditor-soc2"]);
    // Before anything was written: the intent, whose values it is about, stands before the record.
    let said = result.unwrap_err();
    assert!(said.contains("503") && !path.exists(), "{said}");
    gateway
        .process
        .wait_said(&format!("entry {decision} was changed on disk"));
    put(&machine, decision, &before);
    let (_, result) = gateway.try_export_as("soc2.key", &["--profile", "auditor-soc2"]);
    result.unwrap();
    // A call of the north is made one of the south.
    let (intent, _) = of("internal north");
    let before = change(&machine, intent, |payload| {
        payload.place.tenant.as_mut().unwrap().tenant = TenantId([0x5a; 16]);
    });
    let (path, result) = gateway.try_export_as("southern.key", &["--tenant", "south"]);
    assert!(result.is_err() && !path.exists());
    assert!(!left_behind(&path, "internal north"));
    gateway
        .process
        .wait_said(&format!("entry {intent} was changed on disk"));
    put(&machine, intent, &before);
    // A record of the south is made to refer to an intent of the north, which is genuine.
    let (_, southern) = of("public south");
    change(&machine, southern, |payload| {
        let Body::Decision(decision) = &mut payload.body else {
            panic!("it is a decision");
        };
        decision.intent.as_mut().unwrap().index = intent;
    });
    let (path, result) = gateway.try_export_as("southern.key", &["--tenant", "south"]);
    assert!(result.is_err());
    assert!(!left_behind(&path, "internal north"));
    gateway
        .process
        .wait_said(&format!("entry {intent} belongs to another tenant"));
}
