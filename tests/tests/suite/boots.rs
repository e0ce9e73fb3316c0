//! A machine without a TPM: each start is a gateway of its own, which waits for its enrolment and is vouched for by the
//! processor. What rests on a counter cannot be told.
//!
//! Devices alone are played: the chip, its firmware and the kernel's files for them ([`countersign_tests::chip`]). The gateway
//! is the real program without a switch, its reports are signed, and the verifier checks all of them under the fake vendor's root.

use countersign_record::entry::Body;
use countersign_tests::auditor::{Log, Verdict};
use countersign_tests::chip::Chip;
use countersign_tests::client::Answer;
use countersign_tests::gate::Gate;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::{outcome_with, run};
use countersign_tests::site::SiteOptions;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A machine of these tests.
struct Bare {
    machine: Machine,
    chip: Chip,
}

impl Bare {
    fn new() -> Self {
        Self::with(&SiteOptions::default())
    }

    fn with(options: &SiteOptions) -> Self {
        Self {
            machine: Machine::without_tpm(options),
            chip: Chip::new(),
        }
    }

    /// A gateway that waits for its enrolment.
    #[track_caller]
    fn boot(&self) -> Gateway {
        let gateway = self
            .machine
            .boot_on(&self.chip, &self.machine.serve_command())
            .unwrap_or_else(|(status, said)| panic!("the gateway ended with {status}:\n{said}"));
        assert_eq!(gateway.word, "ready", "{}", gateway.process.said());
        gateway
            .process
            .wait_said("platform snp: there is no TPM, and /dev/sev-guest is there");
        gateway
    }

    /// A start that must fail, with these words among what it says.
    #[track_caller]
    fn expect_no_start(&self, words: &str) {
        match self
            .machine
            .boot_on(&self.chip, &self.machine.serve_command())
        {
            Ok(gateway) => panic!("it is {}:\n{}", gateway.word, gateway.process.said()),
            Err((status, said)) => {
                assert_eq!(status.code(), Some(1), "{said}");
                assert!(said.contains(words), "{words:?} was not said, but:\n{said}");
            }
        }
    }

    /// Governance enrols the gateway that waits, beside those of an earlier statement.
    fn enrol(&self, number: u64) -> PathBuf {
        let name = |number| self.machine.path().join(format!("fleet-{number}.cose"));
        let mut sign = self
            .machine
            .command(&["enrol", "sign", "--fleet", "tests", "--name"]);
        sign.arg(format!("boot-{number}"));
        sign.args(["--number", &number.to_string()]);
        sign.arg("--request")
            .arg(self.machine.state().join("enrol-request.cbor"));
        sign.arg("--key")
            .arg(self.machine.site().key_file("governance.key"));
        if number > 1 {
            sign.arg("--previous").arg(name(number - 1));
        }
        run(sign.arg("--out").arg(name(number)));
        self.machine.install_statement(&name(number));
        name(number)
    }

    /// A gateway that takes calls.
    #[track_caller]
    fn start(&self, number: u64) -> Gateway {
        let gateway = self.boot();
        self.enrol(number);
        gateway.wait_ready();
        gateway
    }

    fn verify(&self, export: &Path, receipts: &[String]) -> Verdict {
        let auditor = self.machine.auditor().believing_in(&self.chip);
        auditor.verify_with(export, receipts)
    }

    fn logs(&self) -> Vec<String> {
        let boots = fs::read_dir(self.machine.state().join("boots")).unwrap();
        let names = boots.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

#[track_caller]
fn append(gateway: &Gateway, line: &str) -> Answer {
    let answer = gateway
        .alpha()
        .call("effects.append", json!({ "line": line }))
        .unwrap();
    assert!(answer.is_ok(), "{answer:?}");
    answer
}

#[track_caller]
fn refused(gateway: &Gateway) -> String {
    let answer = gateway
        .alpha()
        .call("effects.append", json!({ "line": "refused" }))
        .unwrap();
    assert!(!answer.is_ok(), "{answer:?}");
    answer.code().to_owned()
}

fn receipts(answers: &[Answer]) -> Vec<String> {
    let all = answers.iter().filter_map(Answer::receipt);
    all.map(str::to_owned).collect()
}

/// All that can be shown of such a gateway is shown, and what rests on a counter is not.
#[track_caller]
fn expect_shown(verdict: &Verdict) {
    let checks = verdict.report["checks"].as_array();
    let checks = checks.unwrap_or_else(|| panic!("there is no report:\n{}", verdict.text));
    let word = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let open: Vec<String> = checks
        .iter()
        .filter(|c| !["pass", "not-checked"].contains(&c["state"].as_str().unwrap()))
        .map(|c| format!("{} {}", word(c, "state"), word(c, "code")))
        .collect();
    assert_eq!(open, ["cannot-tell counter"], "{}", verdict.complaints());
    let reason = verdict.reason("counter");
    assert!(reason.contains("nobody certifies"), "{reason}");
    for code in [
        "evidence-set",
        "evidence",
        "evidence-class",
        "parties",
        "platform-rules",
        "launch",
        "identity",
        "enrolment",
        "build",
        "renewals",
    ] {
        assert_eq!(verdict.state(code), "pass", "{code}: {}", verdict.text);
    }
    assert_eq!(verdict.exit_code, 3);
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "kinds that these tests do not ask about"
)]
fn kinds(export: &Path) -> Vec<&'static str> {
    let log = Log::read(export);
    let kind = |body: &Body| match body {
        Body::Base(_) => Some("base"),
        Body::Enrol(_) => Some("enrol"),
        Body::Renewal(_) => Some("renewal"),
        Body::Close(_) => Some("close"),
        Body::Erasure(_) => Some("erasure"),
        _ => None,
    };
    log.0.iter().filter_map(|e| kind(&e.payload.body)).collect()
}

#[test]
fn a_gateway_without_a_tpm_waits_for_governance_then_serves_and_the_processor_vouches_for_it() {
    let bare = Bare::new();
    let mut gateway = bare.boot();
    gateway
        .process
        .wait_said("not enrolled: its identity is new with this boot");
    // It renews, answers for itself and exports, and takes no call.
    let health = gateway.stranger().get("/healthz").unwrap().json();
    assert_eq!(health["state"], "not enrolled");
    assert_eq!(refused(&gateway), "not_enrolled");
    let before = bare.verify(&gateway.export(), &[]);
    assert_eq!(
        before.first_failure(),
        "enrolment",
        "{}",
        before.complaints()
    );
    assert_eq!(before.state("evidence"), "pass", "{}", before.complaints());
    assert_eq!(gateway.identity().len(), 64);

    // Another key's word does not let it go on.
    let forged = bare.machine.path().join("forged.cose");
    let mut sign = bare.machine.command(&["enrol", "sign", "--fleet", "tests"]);
    sign.args(["--number", "1", "--request"]);
    sign.arg(bare.machine.state().join("enrol-request.cbor"));
    sign.arg("--key")
        .arg(bare.machine.site().key_file("bundle.key"));
    run(sign.arg("--out").arg(&forged));
    bare.machine.install_statement(&forged);
    gateway
        .process
        .wait_said("the fleet statement is not entered");
    assert_eq!(refused(&gateway), "not_enrolled");

    bare.enrol(1);
    gateway.wait_ready();
    gateway.process.wait_said("enrolled by fleet statement 1");
    let answers = [append(&gateway, "one"), append(&gateway, "two")];
    let export = gateway.export();
    assert_eq!(kinds(&export), ["base", "renewal", "enrol"]);
    let verdict = bare.verify(&export, &receipts(&answers));
    expect_shown(&verdict);
    assert!(
        verdict
            .headline()
            .ends_with("the processor vouches for the gateway's keys; no counter spans its boots"),
        "{}",
        verdict.headline()
    );
    let binding = Log::read(&export).bindings().remove(0);
    assert_eq!((binding.ak_name.0.len(), binding.pcrs.len()), (0, 0));
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    gateway.process.wait_said("epoch closed");
    // Whoever does not believe in this vendor is told so, and nobody gets hardware out of software.
    let stranger = bare.machine.auditor().trusting("");
    let verdict = stranger.verify(&export);
    assert_ne!(verdict.exit_code, 0);
    assert_eq!(
        verdict.state("evidence"),
        "fail",
        "{}",
        verdict.complaints()
    );
}

#[test]
fn the_next_boot_is_another_gateway_and_whoever_keeps_an_earlier_log_back_is_named() {
    let bare = Bare::new();
    let mut first = bare.start(1);
    append(&first, "of the first");
    let identity = first.identity();
    assert!(first.stop().success(), "{}", first.process.said());

    let mut second = bare.boot();
    second.process.wait_said("logs of 1 earlier boots are kept");
    assert_ne!(second.id, first.id);
    assert_ne!(second.identity(), identity);
    // The statement that is installed names the first.
    assert_eq!(refused(&second), "not_enrolled");
    let fleet = bare.enrol(2);
    second.wait_ready();
    append(&second, "of the second");

    // The second hands out the first's log as it stands, closed, and without its values.
    let archive = second.export_of(&["--of", &first.id]);
    assert_eq!(kinds(&archive), ["base", "renewal", "enrol", "close"]);
    expect_shown(&bare.verify(&archive, &[]));
    let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    assert!(!text(&archive).contains("of the first"));
    let own = second.export();
    assert!(text(&own).contains("of the second"));
    expect_shown(&bare.verify(&own, &[]));

    let auditor = bare.machine.auditor().believing_in(&bare.chip);
    let both = auditor.verify_fleet(&[archive, own.clone()], &fleet);
    // Neither has a verdict of its own, for want of a counter; both are here.
    let answer = &both.report["fleet"]["answer"];
    assert_eq!(
        answer, "complete for 0 of 2 gateways of fleet statement 2 of tests",
        "{}",
        both.text
    );
    assert!(
        !both.text.contains("its export is not here"),
        "{}",
        both.text
    );
    let kept_back = format!("boot-1 ({}): its export is not here", first.id);
    let one = auditor.verify_fleet(&[own], &fleet);
    assert!(one.text.contains(&kept_back), "{}", one.text);

    // A log that was never here is not made up.
    let (_, none) = second.try_export_of(&["--of", &"ab".repeat(32)]);
    assert!(none.is_err());
    assert!(second.stop().success());
    assert_eq!(bare.logs().len(), 2);
}

#[test]
fn a_kill_in_the_middle_of_a_call_leaves_a_log_that_verifies_and_a_call_that_nobody_settles() {
    let bare = Bare::new();
    let mut first = bare.start(1);
    let answered = append(&first, "answered");
    let gate = Gate::at(&bare.machine.tools());
    let mut alpha = first.alpha();
    let calling = std::thread::spawn(move || {
        let arguments = json!({ "line": "cut" });
        // The gateway is killed before it answers.
        let _gone = alpha.call("effects.slow", arguments);
    });
    let held = gate.next();
    assert_eq!(held.line, "cut");
    // What is under no checkpoint is in no export of a boot that is gone; this export made one.
    let signed = Log::read(&first.export()).0.len();
    first.kill();
    held.release();
    calling.join().unwrap();

    let second = bare.start(2);
    let archive = second.export_of(&["--of", &first.id]);
    assert!(Log::read(&archive).0.len() >= signed);
    let verdict = bare.verify(&archive, &receipts(&[answered]));
    expect_shown(&verdict);
    assert_eq!(verdict.count("open"), 1, "{}", verdict.text);
    let tail = verdict.text.contains("signed but not yet quoted");
    assert!(tail, "{}", verdict.text);
}

#[test]
fn a_disk_that_is_put_back_lacks_what_a_receipt_names_and_nothing_goes_on_from_it() {
    let bare = Bare::new();
    let mut first = bare.start(1);
    append(&first, "kept");
    // A copy of the log that is whole, as of now.
    let export = first.export();
    let before = Log::read(&export).0.len();
    let snapshot = super::operator::snapshot_of_running(&bare.machine, &first);
    let lost = append(&first, "lost");
    first.kill();
    snapshot.restore();

    let mut second = bare.boot();
    assert_ne!(second.id, first.id);
    bare.enrol(2);
    second.wait_ready();
    append(&second, "after");
    let archive = second.export_of(&["--of", &first.id]);
    assert!(Log::read(&archive).0.len() <= before + 1);
    // Genuine as far as it goes; no counter says that there was more, and a caller's receipt does.
    expect_shown(&bare.verify(&archive, &[]));
    let verdict = bare.verify(&archive, &receipts(&[lost]));
    assert_eq!(
        (verdict.exit_code, verdict.first_failure()),
        (1, "receipt-missing"),
        "{}",
        verdict.complaints()
    );
    // Nothing of the second's log continues it.
    let own = Log::read(&second.export()).bindings().remove(0);
    assert_eq!((own.counter, own.previous.size), (1, 0));
    assert!(second.stop().success());
}

#[test]
fn a_boot_takes_up_nothing_of_an_earlier_one_by_whatever_name_it_is_put_there() {
    let bare = Bare::new();
    let mut first = bare.start(1);
    append(&first, "of the first");
    // There is nothing to seal, and so nothing that opens: a log, and a wrap for the recovery key.
    let own = bare.machine.state().join("boots").join(&first.id);
    let mut names: Vec<String> = fs::read_dir(&own)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["log", "storage.recovery"]);
    // While it runs, nobody else starts there.
    bare.expect_no_start("another gateway runs on this state directory");
    assert!(first.stop().success());

    // Its log as a gateway's own.
    let log = bare.machine.state().join("log");
    countersign_tests::machine::copy(&own.join("log"), &log);
    bare.expect_no_start("belongs to a gateway whose keys a TPM keeps, and there is no TPM here");
    fs::remove_dir_all(&log).unwrap();
    // Its log under another's name, which is not the one that its entries have.
    let made_up = "cd".repeat(32);
    let place = bare.machine.state().join("boots").join(&made_up);
    countersign_tests::machine::copy(&own, &place);
    let mut second = bare.start(2);
    let (_, exported) = second.try_export_of(&["--of", &made_up]);
    assert!(exported.is_err());
    second.process.wait_said("cannot be exported");
    // A log that was changed is named, and not handed out.
    assert!(second.stop().success());
    let database = rusqlite::Connection::open(own.join("log").join("log.sqlite")).unwrap();
    let change =
        "UPDATE entry SET bytes = substr(bytes, 1, length(bytes) - 1) || x'00' WHERE idx = 2";
    assert_eq!(database.execute(change, []).unwrap(), 1);
    drop(database);
    let third = bare.boot();
    let (_, exported) = third.try_export_of(&["--of", &first.id]);
    assert!(exported.is_err(), "{}", third.process.said());
    third
        .process
        .wait_said(&format!("the log of boot {} cannot be exported", first.id));
}

#[test]
fn what_is_not_offered_without_a_tpm_is_refused_by_name() {
    let bare = Bare::new();
    let refuse = |arguments: &[&str], words: &str| {
        let mut command = bare.machine.command(arguments);
        command.arg("--site").arg(bare.machine.site().path());
        command.arg("--state").arg(bare.machine.state());
        if arguments[0] == "enrol" {
            command.arg("--out").arg(bare.machine.path().join("out"));
        }
        let (mut command, stdin) = bare.chip.under(&command, &bare.machine.path().join("dev"));
        let (status, out, err) = outcome_with(&mut command, stdin);
        assert!(!status.success(), "{out}{err}");
        assert!(err.contains(words), "{words:?} was not said, but:\n{err}");
    };
    let words = "keys live for one boot, in the gateway that serves";
    refuse(&["enrol", "request"], words);
    let old = bare.machine.path().join("old").display().to_string();
    refuse(
        &["enrol", "request", "--adopt", &old],
        "it continues no other gateway's work",
    );
    for other in ["tpm", "swtpm", "tdx", "gcp-snp"] {
        let words = format!("platform is snp, configuration cannot make it {other}");
        refuse(&["serve", "--platform", other], &words);
    }
    // Nothing of these starts is left behind.
    assert!(!bare.machine.state().join("boots").exists());
    let mut doctor = bare.machine.command(&["doctor", "--json", "--site"]);
    doctor.arg(bare.machine.site().path());
    let (mut doctor, stdin) = bare.chip.under(&doctor, &bare.machine.path().join("dev"));
    let (_, out, err) = outcome_with(&mut doctor, stdin);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    let findings = report["findings"].as_array().unwrap();
    let of = |code: &str| findings.iter().find(|f| f["code"] == code).unwrap();
    assert_eq!(of("tpm.profile")["state"], "warn", "{out}");
    assert_eq!(of("site.release")["state"], "ok", "{out}");
}

#[test]
fn it_renews_while_the_processor_reports_and_takes_no_calls_once_that_is_silent() {
    let bare = Bare::with(&SiteOptions {
        renewal_seconds: 5,
        ..SiteOptions::default()
    });
    let mut gateway = bare.start(1);
    append(&gateway, "one");
    let patience = Instant::now() + countersign_tests::PATIENCE;
    let renewals = |export: &Path| kinds(export).iter().filter(|k| **k == "renewal").count();
    let export = loop {
        let export = gateway.export();
        if renewals(&export) > 1 {
            break export;
        }
        assert!(Instant::now() < patience, "{}", gateway.process.said());
        // Nothing tells when the next renewal is made; this is not a step of a test.
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    expect_shown(&bare.verify(&export, &[]));
    bare.chip.silence(true);
    gateway.process.wait_said("renewal failed");
    while gateway.stranger().get("/readyz").unwrap().status == 200 {
        assert!(Instant::now() < patience, "{}", gateway.process.said());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(refused(&gateway), "lease_expired");
    // And goes on when it reports again: steps of its own that came to nothing are told.
    bare.chip.silence(false);
    gateway.wait_ready();
    append(&gateway, "two");
    expect_shown(&bare.verify(&gateway.export(), &[]));
    gateway.kill();
}

#[test]
fn an_erasure_holds_for_the_boot_whose_values_they_are() {
    let bare = Bare::new();
    let mut gateway = bare.start(1);
    let answers = [append(&gateway, "forget me"), append(&gateway, "keep me")];
    let call = answers[0].opened_receipt().call.to_string();
    let said = gateway
        .order(&["erase", "--call", &call, "--basis", "gdpr-17"])
        .unwrap();
    assert!(said.contains("storage key version 2"), "{said}");
    let export = gateway.export();
    let text = String::from_utf8_lossy(&fs::read(&export).unwrap()).into_owned();
    assert!(!text.contains("forget me") && text.contains("keep me"));
    let verdict = bare.verify(&export, &receipts(&answers));
    expect_shown(&verdict);
    assert_eq!(verdict.state("erasures"), "pass", "{}", verdict.text);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
}

#[test]
fn a_machine_with_a_tpm_continues_such_a_log_and_the_recovery_key_opens_its_values() {
    let bare = Bare::new();
    let mut first = bare.start(1);
    append(&first, "of the first");
    assert!(first.stop().success());
    let successor = bare.machine.successor_with_tpm();
    let old = bare.machine.state().join("boots").join(&first.id);
    successor.adopt(&old, &bare.machine.path().join("fleet-1.cose"));
    let gateway = successor.start();
    let archive = gateway.export_of(&["--of", &first.id]);
    let text = String::from_utf8_lossy(&fs::read(&archive).unwrap()).into_owned();
    assert!(text.contains("of the first"));
    expect_shown(&bare.verify(&archive, &[]));
}
