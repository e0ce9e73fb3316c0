//! Callers by the word of an issuer: found by a client that knows nothing, bound to keys, for people, and without a trace
//! of the token anywhere.

use countersign_record::cbor::Cbor as _;
use countersign_record::claims::PrincipalChain;
use countersign_record::commitment::Field;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Client, Credential, Response, sign};
use countersign_tests::issuer::{HeldKey, ISSUER, Issuer, RESOURCE, now};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::site::{BETA, BETA_KEY, SiteOptions};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const JSON: (&str, &str) = ("content-type", "application/json");

fn started() -> (Machine, Issuer, Gateway) {
    started_with(&SiteOptions::default(), |_| ())
}

fn started_with(
    options: &SiteOptions,
    change: impl FnOnce(&Machine),
) -> (Machine, Issuer, Gateway) {
    let machine = Machine::new(options);
    let issuer = Issuer::of(machine.site());
    change(&machine);
    machine.site().build();
    machine.enrol(1);
    let gateway = machine.start();
    (machine, issuer, gateway)
}

fn ask(client: &mut Client, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let all = [headers, &[JSON]].concat();
    let sent = client.request("POST", path, &all, body.to_string().as_bytes());
    sent.unwrap()
}

fn append(line: &str) -> Value {
    json!({ "capability": "effects.append", "arguments": { "line": line } })
}

fn call(gateway: &Gateway, headers: &[(&str, &str)], body: &Value) -> Response {
    ask(&mut gateway.stranger(), "/v1/calls", headers, body)
}

fn bearer(gateway: &Gateway, token: &str, body: &Value) -> Response {
    call(
        gateway,
        &[("authorization", &format!("Bearer {token}"))],
        body,
    )
}

fn code(response: &Response) -> String {
    let body = response.json();
    body["refusal"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn tools_list() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} })
}

fn tools_call(line: &str) -> Value {
    let call = json!({ "name": "append", "arguments": { "line": line } });
    json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call })
}

fn challenge(response: &Response) -> &str {
    response.header("www-authenticate").unwrap_or_default()
}

#[test]
fn a_client_that_knows_nothing_finds_the_issuer_and_calls_with_its_token() {
    let (machine, issuer, gateway) = started();
    let mut client = gateway.stranger();
    let refused = ask(&mut client, "/mcp/effects", &[], &tools_list());
    assert_eq!(refused.status, 401);
    let (_, url) = challenge(&refused)
        .split_once("resource_metadata=\"")
        .unwrap();
    let url = url.strip_suffix('"').unwrap();
    let path = url.strip_prefix(RESOURCE).unwrap();
    assert!(
        !challenge(&refused).contains("error="),
        "nothing was shown, nothing is wrong"
    );
    let challenges: Vec<&str> = refused.all("www-authenticate").collect();
    let [_, proved] = challenges[..] else {
        panic!("{challenges:?}");
    };
    assert_eq!(
        proved,
        format!(
            "DPoP algs=\"ES256 EdDSA Ed25519 RS256 PS256\", scope=\"tools\", resource_metadata=\"{url}\""
        )
    );
    let found = client.get(path).unwrap();
    assert_eq!(found.status, 200);
    let metadata = found.json();
    assert_eq!(metadata["resource"], format!("{RESOURCE}/mcp/effects"));
    assert_eq!(metadata["authorization_servers"], json!([ISSUER]));
    assert_eq!(metadata["scopes_supported"], json!(["tools"]));
    let token = issuer.token(json!({ "aud": metadata["resource"] }));
    let header = format!("Bearer {token}");
    let shown = [("authorization", header.as_str())];
    let list = ask(&mut client, "/mcp/effects", &shown, &tools_list()).json();
    assert!(
        list["result"]["tools"].as_array().unwrap().len() > 3,
        "{list}"
    );
    let done = ask(&mut client, "/mcp/effects", &shown, &tools_call("by token")).json();
    assert_eq!(done["result"]["content"][0]["text"], "by token", "{done}");
    // The token is for this door alone.
    let elsewhere = call(&gateway, &shown, &append("x"));
    assert_eq!(
        (elsewhere.status, code(&elsewhere).as_str()),
        (401, "token_invalid")
    );
    assert_eq!(machine.effects(), ["by token"]);
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let (entry, intent) = log.intents().next().unwrap();
    assert_eq!(intent.caller.assurance, 1);
    assert_eq!(
        entry.disclosed(Field::Agent).as_deref(),
        Some("agent:tests/desk@1")
    );
    let kept = entry.claims().token.unwrap();
    assert_eq!(
        (kept.issuer.as_str(), kept.client.as_str()),
        (ISSUER, "desk")
    );
    machine.expect_replay(&export);
}

#[test]
fn the_doors_for_header_clients_say_nothing_of_oauth() {
    let (_machine, _, gateway) = started();
    let mut stranger = gateway.stranger();
    let refused = ask(&mut stranger, "/key/mcp/effects", &[], &tools_list());
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, None)
    );
    for nowhere in ["", "/", "/key/mcp/effects", "/key/mcp", "/mcp/nothing"] {
        let path = format!("/.well-known/oauth-protected-resource{nowhere}");
        assert_eq!(stranger.get(&path).unwrap().status, 404, "{path}");
    }
    let path = "/.well-known/oauth-authorization-server";
    assert_eq!(stranger.get(path).unwrap().status, 404);
    let list = ask(&mut gateway.alpha(), "/key/mcp/effects", &[], &tools_list());
    assert!(list.json()["result"]["tools"].is_array());
    let signed = ask(&mut gateway.beta(), "/key/mcp/effects", &[], &tools_list());
    assert!(signed.json()["result"]["tools"].is_array());
}

#[test]
fn a_site_without_issuers_has_no_metadata_and_no_challenge() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let mut stranger = gateway.stranger();
    let refused = ask(&mut stranger, "/mcp/effects", &[], &tools_list());
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, None)
    );
    let path = "/.well-known/oauth-protected-resource/mcp/effects";
    assert_eq!(stranger.get(path).unwrap().status, 404);
}

#[test]
fn hostile_tokens_are_refused_with_a_reason_and_leave_nothing() {
    let (machine, issuer, gateway) = started();
    let other = Issuer::of(Machine::new(&SiteOptions::default()).site());
    let now = now();
    let none = json!({});
    for (token, reason) in [
        (
            issuer.token(json!({ "aud": "https://other.example" })),
            "meant for another resource",
        ),
        (
            issuer.token(json!({ "iss": "https://evil.example" })),
            "no issuer that is accepted",
        ),
        (
            issuer.token(json!({ "iat": now - 900, "exp": now - 600 })),
            "has expired",
        ),
        (issuer.token(json!({ "nbf": now + 60 })), "not valid yet"),
        (issuer.token(json!({ "exp": now + 7200 })), "lives longer"),
        (issuer.token(json!({ "sub": null })), "has no sub"),
        (
            issuer.token(json!({ "act": { "sub": 1 } })),
            "claim act of the token is malformed",
        ),
        (
            issuer.token(json!({ "cnf": { "x5t#S256": "AA" } })),
            "cannot be checked here",
        ),
        (
            issuer.token_with(json!({ "alg": "none" }), none.clone()),
            "algorithm is none",
        ),
        (
            issuer.token_with(json!({ "alg": "HS256" }), none.clone()),
            "algorithm is none",
        ),
        (
            issuer.token_with(json!({ "kid": "k2" }), none.clone()),
            "no key of its issuer",
        ),
        (
            issuer.token_with(json!({ "typ": "JWT" }), none.clone()),
            "not of the type",
        ),
        (
            issuer.token_with(json!({ "crit": ["x"] }), none.clone()),
            "critical extensions",
        ),
        (
            other.token(none.clone()),
            "signature of the token does not hold",
        ),
    ] {
        let refused = bearer(&gateway, &token, &append("x"));
        assert_eq!(
            (refused.status, code(&refused).as_str()),
            (401, "token_invalid"),
            "{reason}"
        );
        let said = challenge(&refused);
        assert!(said.starts_with("Bearer error=\"invalid_token\""), "{said}");
        assert!(said.contains(reason), "{said}");
    }
    let unscoped = bearer(
        &gateway,
        &issuer.token(json!({ "scope": "other" })),
        &append("x"),
    );
    assert_eq!(
        (unscoped.status, code(&unscoped).as_str()),
        (403, "insufficient_scope")
    );
    let said = challenge(&unscoped);
    assert!(
        said.contains("error=\"insufficient_scope\"") && said.contains("scope=\"tools\""),
        "{said}"
    );
    let nobody = bearer(
        &gateway,
        &issuer.token(json!({ "client_id": "nobody" })),
        &append("x"),
    );
    assert_eq!(
        (nobody.status, code(&nobody).as_str()),
        (401, "unauthenticated")
    );
    let alone = bearer(
        &gateway,
        &issuer.token(json!({ "client_id": "signing" })),
        &append("x"),
    );
    assert_eq!(
        (alone.status, code(&alone).as_str()),
        (401, "unauthenticated")
    );
    assert!(machine.effects().is_empty());
    assert_eq!(Log::read(&gateway.export()).decisions().count(), 0);
}

#[test]
fn a_bound_token_needs_its_key_for_every_request() {
    let (machine, issuer, gateway) = started();
    let (held, url) = (HeldKey::new(), format!("{}/v1/calls", gateway.url));
    let token = issuer.bound(&held, json!({}));
    let send = |proof: &str, line: &str| {
        let authorization = format!("DPoP {token}");
        let headers = [("authorization", authorization.as_str()), ("dpop", proof)];
        call(&gateway, &headers, &append(line))
    };
    let good = held.proof(&url, &token, json!({}));
    assert_eq!(send(&good, "bound").json()["status"], "ok");
    let other_token = issuer.bound(&held, json!({}));
    for (proof, what) in [
        (good.clone(), "replayed"),
        (held.proof(&url, &token, json!({ "htm": "GET" })), "method"),
        (
            held.proof(&format!("{}/mcp/effects", gateway.url), &token, json!({})),
            "url",
        ),
        (
            held.proof("https://gateway.example.org/v1/calls", &token, json!({})),
            "host",
        ),
        (held.proof(&url, &other_token, json!({})), "token"),
        (
            held.proof(&url, &token, json!({ "iat": now() - 120 })),
            "old",
        ),
        (HeldKey::new().proof(&url, &token, json!({})), "key"),
    ] {
        let refused = send(&proof, what);
        assert_eq!(
            (refused.status, code(&refused).as_str()),
            (401, "proof_invalid"),
            "{what}"
        );
        let said = challenge(&refused);
        assert!(
            said.starts_with("DPoP error=\"invalid_dpop_proof\""),
            "{said}"
        );
    }
    // Whoever steals the token alone has nothing.
    let stolen = bearer(&gateway, &token, &append("stolen"));
    assert_eq!(
        (stolen.status, code(&stolen).as_str()),
        (401, "proof_invalid")
    );
    assert_eq!(machine.effects(), ["bound"]);
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let (entry, intent) = log.intents().next().unwrap();
    assert_eq!((intent.caller.assurance, log.decisions().count()), (2, 1));
    assert_eq!(entry.claims().dpop, Some(good));
    machine.expect_replay(&export);
}

#[test]
fn a_proof_that_was_used_before_a_restart_is_used() {
    let (machine, issuer, mut gateway) = started();
    let held = HeldKey::new();
    let token = issuer.bound(&held, json!({}));
    let authorization = format!("DPoP {token}");
    // The gateway may have another port after its restart; a proof is for a URL, so this one is for a name that stays.
    let port = gateway.authority().rsplit_once(':').unwrap().1.to_owned();
    machine
        .site()
        .edit("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    gateway.stop();
    let mut gateway = machine.start();
    let url = format!("{}/v1/calls", gateway.url);
    let proof = held.proof(&url, &token, json!({ "iat": now() + 50 }));
    let headers = [
        ("authorization", authorization.as_str()),
        ("dpop", proof.as_str()),
    ];
    assert_eq!(
        call(&gateway, &headers, &append("once")).json()["status"],
        "ok"
    );
    gateway.kill();
    let gateway = machine.start();
    let again = call(&gateway, &headers, &append("once"));
    assert_eq!(
        (again.status, code(&again).as_str()),
        (401, "proof_invalid")
    );
    assert_eq!(machine.effects(), ["once"]);
}

#[test]
fn people_behind_one_agent_are_told_apart_in_the_record_and_everywhere_else() {
    let (machine, issuer, gateway) = started();
    let go = |person: &str, line: &str| {
        let token = issuer.token(json!({ "sub": person, "act": { "sub": "planner" } }));
        let mut body = append(line);
        body["idempotency_key"] = json!("k");
        bearer(&gateway, &token, &body).json()
    };
    let (ada, bob) = (go("ada", "for ada"), go("bob", "for bob"));
    assert_eq!(ada["result"]["content"][0]["text"], "for ada", "{ada}");
    assert_eq!(bob["result"]["content"][0]["text"], "for bob", "{bob}");
    assert_eq!(machine.effects(), ["for ada", "for bob"]);
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let intents: Vec<_> = log.intents().collect();
    let people: Vec<_> = intents
        .iter()
        .map(|(e, _)| e.disclosed(Field::User).unwrap())
        .collect();
    assert_eq!(people, ["corp:ada", "corp:bob"]);
    let subjects: Vec<_> = intents
        .iter()
        .map(|(_, d)| d.caller.subject.unwrap())
        .collect();
    assert_ne!(subjects[0], subjects[1]);
    let runs: Vec<_> = intents
        .iter()
        .map(|(e, _)| e.payload.place.run.as_ref().unwrap().run)
        .collect();
    assert_ne!(runs[0], runs[1]);
    let chain = intents[0]
        .0
        .disclosures
        .iter()
        .find(|d| d.field == Field::PrincipalChain);
    let chain = PrincipalChain::from_bytes(&chain.unwrap().value.0).unwrap();
    let names: Vec<_> = chain
        .principals
        .iter()
        .map(|p| p.subject.as_str())
        .collect();
    assert_eq!(names, ["ada", "planner"]);
    machine.expect_replay(&export);
    // A person whom no file of the site names can be forgotten like any other.
    let erased = gateway.order(&[
        "erase",
        "--tenant",
        "north",
        "--subject",
        "corp:ada",
        "--basis",
        "gdpr-17",
    ]);
    erased.unwrap();
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let left: Vec<_> = log
        .intents()
        .map(|(e, _)| e.disclosed(Field::User))
        .collect();
    assert_eq!(left, [None, Some("corp:bob".to_owned())]);
}

#[test]
fn a_signed_request_says_by_a_token_for_whom_it_is() {
    let (machine, issuer, gateway) = started();
    let key = machine.site().signing_key(BETA_KEY);
    let send = |token: &str, line: &str| {
        let (authorization, body) = (format!("Bearer {token}"), append(line).to_string());
        let shown = [("authorization", authorization.as_str())];
        let signature = sign(
            &key,
            gateway.authority(),
            "POST",
            "/v1/calls",
            &shown,
            body.as_bytes(),
        );
        let mut headers = shown.to_vec();
        headers.extend(
            signature
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        call(&gateway, &headers, &append(line))
    };
    let token = issuer.token(json!({ "client_id": "signing", "sub": "ada" }));
    assert_eq!(send(&token, "for ada").json()["status"], "ok");
    let of_another = send(&issuer.token(json!({ "sub": "ada" })), "x");
    assert_eq!(
        (of_another.status, code(&of_another).as_str()),
        (401, "token_invalid")
    );
    let export = gateway.export();
    let verdict = machine.auditor().verify(&export);
    verdict.assert_verified();
    assert_eq!(verdict.state("caller-proofs"), "pass");
    let log = Log::read(&export);
    let (entry, intent) = log.intents().next().unwrap();
    assert_eq!(intent.caller.assurance, 3);
    assert_eq!(entry.disclosed(Field::Agent).as_deref(), Some(BETA));
    assert_eq!(entry.disclosed(Field::User).as_deref(), Some("corp:ada"));
    machine.expect_replay(&export);
}

#[test]
fn who_approves_is_shown_for_whom_the_agent_asks() {
    let (machine, issuer, mut gateway) = started();
    let erase = json!({ "capability": "effects.erase", "arguments": { "line": "gone" } });
    // The second letter of the name is U+0430, Cyrillic, and a direction mark follows.
    let person = "a\u{430}\u{202e}a";
    let token = |who: &str| issuer.token(json!({ "sub": who, "act": { "sub": "planner" } }));
    let halted = bearer(&gateway, &token(person), &erase);
    assert_eq!(code(&halted), "approval_required");
    let itself = gateway
        .alpha()
        .call("effects.erase", json!({ "line": "own" }));
    assert_eq!(itself.unwrap().code(), "approval_required");
    for _ in 0..2 {
        let listed = gateway.officer().get("/v1/approvals").unwrap().json();
        let waiting = &listed["waiting"];
        assert_eq!(waiting[0]["user"], format!("corp:{person}"), "{listed}");
        let chain = [person, "planner"].map(|n| json!({ "issuer": ISSUER, "subject": n }));
        assert_eq!(waiting[0]["principals"], json!(chain), "{listed}");
        assert_eq!(waiting[1]["user"], Value::Null, "{listed}");
        assert_eq!(waiting[1]["principals"], json!([]), "{listed}");
        // What waits is known from the log again.
        gateway.kill();
        gateway = machine.start();
    }
    let visible = "corp:a\\u{430}\\u{202e}a";
    let list = gateway.approve(&["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].ends_with(&format!("  for {visible}")), "{list}");
    assert!(lines[1].ends_with("agent:tests/alpha@1"), "{list}");
    let id = list.split_whitespace().next().unwrap().to_owned();
    let shown = gateway.approve(&["yes", &id]);
    for line in [
        format!("for         {visible}"),
        format!("behind it   {ISSUER}#a\\u{{430}}\\u{{202e}}a"),
        format!("behind it   {ISSUER}#planner"),
    ] {
        assert_eq!(shown.lines().filter(|l| *l == line).count(), 1, "{shown}");
    }
    assert!(shown.is_ascii(), "{shown}");
    // What was approved for one person is not carried out for another.
    let other = bearer(&gateway, &token("bob"), &erase);
    assert_eq!(code(&other), "approval_required");
    let done = bearer(&gateway, &token(person), &erase).json();
    assert_eq!(done["status"], "ok", "{done}");
    assert_eq!(machine.effects(), ["gone"]);
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    machine.expect_replay(&export);
}

#[test]
fn a_tool_that_asks_for_a_bound_token_is_not_shown_to_a_free_one() {
    let (machine, issuer, gateway) = started_with(&SiteOptions::default(), |machine| {
        let file = "capabilities/append.toml";
        let text = std::fs::read_to_string(machine.site().file(file)).unwrap();
        let demanding = text.replacen("mode =", "min_assurance = 2\nmode =", 1);
        machine.site().write(file, &demanding);
    });
    let token = issuer.token(json!({}));
    let refused = bearer(&gateway, &token, &append("x"));
    assert_eq!(
        (refused.status, code(&refused).as_str()),
        (200, "assurance_too_low")
    );
    let header = format!("Bearer {token}");
    let shown = [("authorization", header.as_str())];
    let list = ask(
        &mut gateway.stranger(),
        "/mcp/effects",
        &shown,
        &tools_list(),
    );
    assert!(!String::from_utf8_lossy(&list.body).contains("\"append\""));
    let signed = gateway
        .beta()
        .call("effects.append", json!({ "line": "signed" }));
    assert!(signed.unwrap().is_ok());
    assert_eq!(machine.effects(), ["signed"]);
    machine.expect_replay(&gateway.export());
}

/// Whether a file below has these bytes, and which.
fn files_with(directory: &Path, needle: &[u8], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_with(&path, needle, found);
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(needle.len()).any(|w| w == needle)
        {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn the_secret_of_a_token_is_nowhere_but_with_its_caller() {
    let wire = tempfile::tempdir().unwrap();
    let (script, heard) = (wire.path().join("tee.sh"), wire.path().join("heard.log"));
    let tee = format!(
        "#!/bin/sh\n/usr/bin/tee -a {} | {} \"$@\"\n",
        heard.display(),
        countersign_tests::site::python()
    );
    std::fs::write(&script, tee).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = SiteOptions {
        upstream: Some(script.display().to_string()),
        ..SiteOptions::default()
    };
    let (machine, issuer, mut gateway) = started_with(&options, |_| ());
    let held = HeldKey::new();
    let free = issuer.token(json!({ "sub": "ada" }));
    let bound = issuer.bound(&held, json!({}));
    let fixed = machine.site().token();
    assert_eq!(
        bearer(&gateway, &free, &append("free")).json()["status"],
        "ok"
    );
    let proof = held.proof(&format!("{}/v1/calls", gateway.url), &bound, json!({}));
    let authorization = format!("DPoP {bound}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("dpop", proof.as_str()),
    ];
    assert_eq!(
        call(&gateway, &headers, &append("bound")).json()["status"],
        "ok"
    );
    assert_eq!(
        bearer(&gateway, &fixed, &append("fixed")).json()["status"],
        "ok"
    );
    let mut mcp = Client::new(gateway.authority(), Credential::Token(free.clone()));
    let over_mcp = ask(&mut mcp, "/mcp/effects", &[], &tools_call("mcp"));
    assert_eq!(over_mcp.status, 200);
    // Refusals must not repeat it either.
    let expired = issuer.token(json!({ "exp": now() - 600, "iat": now() - 900 }));
    let refused = bearer(&gateway, &expired, &append("expired"));
    let export = gateway.export();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let heard_text = std::fs::read_to_string(&heard).unwrap();
    assert!(
        heard_text.contains("tools/call"),
        "the wire to the tool was watched"
    );
    for token in [&free, &bound, &fixed, &expired] {
        // Header and claims of a token say nothing secret; what makes it usable is the rest.
        let secret = token.rsplit('.').next().unwrap();
        let mut found = Vec::new();
        files_with(&machine.state(), secret.as_bytes(), &mut found);
        files_with(&machine.tools(), secret.as_bytes(), &mut found);
        assert_eq!(found, Vec::<String>::new());
        assert!(!heard_text.contains(secret), "sent to the tool");
        assert!(!gateway.process.said().contains(secret), "said in the log");
        let bytes = std::fs::read(&export).unwrap();
        assert!(
            !bytes.windows(secret.len()).any(|w| w == secret.as_bytes()),
            "exported"
        );
        let told = format!(
            "{:?}{}",
            refused.headers,
            String::from_utf8_lossy(&refused.body)
        );
        assert!(!told.contains(secret), "told to whoever sent it");
    }
    machine.auditor().verify(&export).assert_verified();
}
