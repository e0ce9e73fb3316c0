//! `countersign doctor`: what is missing on a machine, before, beside and after its gateway; and without a TPM.

use countersign_tests::machine::Machine;
use countersign_tests::process::outcome;
use countersign_tests::program;
use countersign_tests::site::SiteOptions;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What doctor said, and how it ended.
struct Said {
    json: Value,
    text: String,
    exit: i32,
}

impl Said {
    /// State, what was found and what to do.
    fn of(&self, code: &str) -> (&str, &str, &str) {
        let findings = self.json["findings"].as_array().unwrap();
        let found = findings.iter().find(|f| f["code"] == code).unwrap();
        let text = |name: &str| found[name].as_str().unwrap_or_default();
        (text("state"), text("found"), text("do"))
    }

    fn state(&self, code: &str) -> &str {
        self.of(code).0
    }
}

fn doctor(site: &Path, state: &Path) -> Said {
    let mut command = Command::new(program("countersign"));
    command.arg("doctor").arg("--site").arg(site);
    command.arg("--state").arg(state).arg("--json");
    let (status, text, error) = outcome(&mut command);
    assert_eq!(error, "");
    Said {
        json: serde_json::from_str(&text).unwrap(),
        text,
        exit: status.code().unwrap(),
    }
}

/// Every file below a directory, with its bytes.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                out.insert(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    out
}

#[test]
fn doctor_tells_a_machine_before_beside_and_after_its_gateway_and_changes_nothing() {
    let machine = Machine::new(&SiteOptions::default());
    let (site, state) = (machine.site().path().to_owned(), machine.state());
    let look = || doctor(&site, &state);

    let before = files(&site);
    let fresh = look();
    assert_eq!(fresh.exit, 0, "{}", fresh.text);
    assert_eq!(fresh.state("tpm.reachable"), "ok");
    let (stands, found, _) = fresh.of("tpm.profile");
    assert!(
        stands == "warn" && found.contains("no hardware vouches"),
        "{found}"
    );
    for code in [
        "site.settings",
        "site.bundle",
        "site.release",
        "tpm.registers",
        "collateral.present",
    ] {
        assert_eq!(fresh.state(code), "ok", "{code}: {}", fresh.text);
    }
    for code in ["state.keys", "tpm.counter", "tpm.floor"] {
        assert!(
            fresh.of(code).1.contains("none yet"),
            "{code}: {}",
            fresh.text
        );
    }
    assert!(!state.exists(), "doctor made the state directory");
    assert_eq!(files(&site), before);

    machine.enrol(1);
    let mut gateway = machine.start();
    let mut alone = Command::new(program("countersign"));
    let (status, text, _) = outcome(alone.arg("doctor").arg("--site").arg(&site));
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(
        text.contains("name the state directory with --state"),
        "{text}"
    );
    let beside = look();
    assert_eq!(beside.exit, 0, "{}", beside.text);
    assert!(beside.of("state.log").1.contains("a gateway runs"));
    let (stands, found, _) = beside.of("tpm.reachable");
    assert!(
        stands == "unknown" && found.contains("belongs to the gateway"),
        "{found}"
    );
    assert!(
        gateway
            .alpha()
            .call("effects.append", serde_json::json!({ "line": "x" }))
            .unwrap()
            .is_ok()
    );
    assert!(gateway.stop().success());

    let before = (files(&site), files(&state));
    let after = look();
    assert_eq!(after.exit, 0, "{}", after.text);
    assert!(
        after.of("state.keys").1.contains("of this TPM"),
        "{}",
        after.text
    );
    for code in ["tpm.storage-key", "tpm.counter", "tpm.floor"] {
        assert_eq!(after.state(code), "ok", "{code}: {}", after.text);
        assert!(
            !after.of(code).1.contains("none yet"),
            "{code}: {}",
            after.text
        );
    }
    assert_eq!((files(&site), files(&state)), before);
    for (path, secret) in files(&site.join("keys")) {
        let secret = String::from_utf8(secret).unwrap();
        assert!(!after.text.contains(secret.trim()), "{path} is shown");
    }
}

#[test]
fn doctor_finds_another_machines_state_an_altered_boot_and_a_changed_site() {
    let machine = Machine::enrolled();
    assert!(machine.start().stop().success());
    let twin = machine.twin();
    let found = doctor(twin.site().path(), &twin.state());
    assert_eq!(found.exit, 1, "{}", found.text);
    for code in ["state.keys", "tpm.counter", "tpm.floor", "tpm.storage-key"] {
        assert_eq!(found.state(code), "fail", "{code}: {}", found.text);
        assert!(!found.of(code).2.is_empty());
    }

    let site = machine.site();
    site.edit("sequence = 1", "sequence = 2");
    let found = doctor(site.path(), &machine.state());
    assert_eq!(
        (found.exit, found.state("site.release")),
        (1, "fail"),
        "{}",
        found.text
    );
    site.edit("sequence = 2", "sequence = 1");
    let key = site.path().join("keys/release.key");
    let mut sign = Command::new(program("countersign"));
    sign.args(["release", "sign", "--site"])
        .arg(site.path())
        .arg("--key")
        .arg(key);
    sign.arg("--pcr").arg(format!("4={}", "44".repeat(32)));
    assert!(outcome(&mut sign).0.success());
    let found = doctor(site.path(), &machine.state());
    assert_eq!(
        (found.exit, found.state("tpm.registers")),
        (1, "fail"),
        "{}",
        found.text
    );
    machine.sign_release();
    site.write("policies/more.cedar", "// another\n");
    let found = doctor(site.path(), &machine.state());
    assert_eq!(
        (found.exit, found.state("site.bundle")),
        (0, "warn"),
        "{}",
        found.text
    );
    fs::remove_file(site.path().join("build/bundle.cbor")).unwrap();
    let found = doctor(site.path(), &machine.state());
    assert_eq!(
        (found.exit, found.state("site.bundle")),
        (1, "fail"),
        "{}",
        found.text
    );
}

#[test]
fn doctor_on_a_machine_without_a_tpm_fails_and_says_what_to_do() {
    let mut machine = Machine::new(&SiteOptions::default());
    machine.stop_tpm();
    let gone = doctor(machine.site().path(), &machine.state());
    let (stands, _, advice) = gone.of("tpm.reachable");
    assert_eq!((gone.exit, stands), (1, "fail"), "{}", gone.text);
    assert!(advice.contains("countersign swtpm"), "{advice}");

    let directory = tempfile::tempdir().unwrap();
    let site = directory.path().join("site");
    let mut init = Command::new(program("countersign"));
    init.arg("init").arg(&site).args(["--database", "unused"]);
    init.args(["--tpm", "device:/dev/no-such-tpm"]);
    assert!(outcome(&mut init).0.success());
    let found = doctor(&site, &directory.path().join("state"));
    let (stands, words, advice) = found.of("tpm.reachable");
    assert_eq!((found.exit, stands), (1, "fail"), "{}", found.text);
    assert!(
        words.contains("/dev/no-such-tpm") && advice.contains("enable the TPM"),
        "{words} {advice}"
    );
    assert_eq!(found.state("tpm.profile"), "unknown");
    assert_eq!(found.json["doctor"], 1);
    assert_eq!(found.json["exit_code"], 1);

    for wrong in [
        &["doctor"][..],
        &["doctor", "--site", "x", "--trust", "no-such-file"],
    ] {
        let (status, out, _) = outcome(Command::new(program("countersign")).args(wrong));
        assert_eq!((status.code(), out.as_str()), (Some(2), ""), "{wrong:?}");
    }
}
