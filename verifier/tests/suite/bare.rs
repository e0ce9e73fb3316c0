//! `countersign-verify evidence` on real captures, in the forms in which people have them.

#![expect(clippy::unwrap_used, reason = "tests")]

use countersign_devices::azure::{self, Claims};
use countersign_devices::key::{Key, Rsa};
use countersign_devices::snp::{Draft, Kind, Product};
use countersign_devices::tdx::{Collateral, Intel, Quote};
use countersign_evidence::tdx::RootDigest;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A time at which most captures' chains are valid.
const THEN: &str = "2025-06-25T00:00:00Z";

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("evidence/vectors")
        .join(name)
}

/// Exit code and JSON.
fn judged(files: &[&str], more: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .arg("evidence")
        .args(files.iter().map(|f| capture(f)))
        .args(more)
        .arg("--json")
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (code, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Codes of checks that failed.
fn failed(json: &Value) -> Vec<String> {
    let parts = json["parts"].as_array().unwrap();
    let checks = parts.iter().flat_map(|p| p["checks"].as_array().unwrap());
    checks
        .filter(|c| c["outcome"] == "fail")
        .map(|c| c["code"].as_str().unwrap().to_owned())
        .collect()
}

/// What was not checked.
fn unchecked(json: &Value) -> String {
    json["not_checked"].to_string()
}

/// Files, time, exit code, and the checks that fail.
type Case<'a> = (&'a [&'a str], &'a str, i32, &'a [&'a str]);

fn judge_all(cases: &[Case<'_>]) {
    for (files, now, code, expected) in cases {
        let (found, json) = judged(files, &["--now", now]);
        assert_eq!(failed(&json), *expected, "{files:?}");
        assert_eq!(found, *code, "{files:?}");
    }
}

#[test]
fn each_capture_gets_the_verdict_that_its_manifest_states() {
    judge_all(&[
        (
            &[
                "snp/captured/milan-v2-virtee.report",
                "snp/captured/milan-v2-virtee.der",
            ],
            THEN,
            3,
            &[],
        ),
        (
            &[
                "snp/captured/milan-v2-trustee.report",
                "snp/captured/milan-v2-trustee.der",
            ],
            THEN,
            3,
            &[],
        ),
        (
            &[
                "snp/captured/milan-v2-debug.report",
                "snp/captured/milan-v2-debug.der",
            ],
            THEN,
            1,
            &["snp.guest.debug"],
        ),
        (
            &[
                "snp/captured/milan-v3-azure-b.report",
                "snp/captured/milan-v3-azure-b.der",
            ],
            THEN,
            3,
            &[],
        ),
        // A provider's key, which nobody accepted.
        (
            &[
                "snp/captured/milan-v3-aws-vlek.report",
                "snp/captured/milan-v3-aws-vlek.der",
            ],
            THEN,
            2,
            &["snp.provider.accepted"],
        ),
        // The key of another chip.
        (
            &[
                "snp/captured/milan-v2-virtee.report",
                "snp/captured/milan-v2-trustee.der",
            ],
            THEN,
            1,
            &["snp.key.chip", "snp.report.signature"],
        ),
    ]);
}

#[test]
fn captures_of_azure_intel_and_boots_get_theirs() {
    judge_all(&[
        (&["azure/trustee-snp/evidence-v1.json"], THEN, 3, &[]),
        (&["azure/trustee-snp/evidence-v0.json"], THEN, 3, &[]),
        (
            &[
                "tdx/dcap-qvl/tdx_quote",
                "tdx/dcap-qvl/tdx_quote_collateral.json",
            ],
            THEN,
            3,
            &[],
        ),
        (
            &[
                "tdx/dcap-qvl/near_quote.bin",
                "tdx/dcap-qvl/near_quote_collateral.json",
            ],
            "2025-09-10T00:00:00Z",
            3,
            &[],
        ),
        // The same after the collateral has expired.
        (
            &[
                "tdx/dcap-qvl/tdx_quote",
                "tdx/dcap-qvl/tdx_quote_collateral.json",
            ],
            "2025-08-01T00:00:00Z",
            1,
            &[
                "tdx.pckcrl.validity",
                "tdx.tcbinfo.validity",
                "tdx.qeidentity.validity",
            ],
        ),
        (
            &["tdx/trustee/tdx_quote_4.dat"],
            THEN,
            1,
            &["tdx.td.debug", "tdx.collateral.present"],
        ),
        (
            &["tdx/dcap-qvl/quote-from-tappd.hex"],
            THEN,
            1,
            &["tdx.collateral.present"],
        ),
        (&["eventlog/sb_cert_eventlog"], THEN, 3, &[]),
    ]);
}

/// Name of the result that is kept, files, options.
type Kept<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

const KEPT: [Kept<'_>; 12] = [
    (
        "snp",
        &[
            "snp/captured/milan-v2-virtee.report",
            "snp/captured/milan-v2-virtee.der",
        ],
        &["--now", THEN],
    ),
    (
        "snp-whole-chain",
        &[
            "snp/captured/milan-v2-virtee.report",
            "snp/captured/milan-v2-virtee.der",
            "snp/roots/milan-ask.der",
            "snp/roots/milan-ark.der",
        ],
        &["--now", THEN],
    ),
    (
        "snp-of-a-provider",
        &[
            "snp/captured/milan-v3-aws-vlek.report",
            "snp/captured/milan-v3-aws-vlek.der",
        ],
        &["--now", THEN],
    ),
    (
        "azure-snp",
        &["azure/trustee-snp/evidence-v1.json"],
        &["--now", THEN, "--nonce", "00"],
    ),
    (
        "azure-tdx",
        &["azure/trustee-tdx/evidence-v1.json"],
        &["--now", THEN],
    ),
    (
        "azure-snp-beside-others",
        &[
            "azure/trustee-snp/hcl-report.bin",
            "snp/captured/milan-v2-azure.der",
            "snp/captured/milan-v2-debug.report",
            "eventlog/sb_cert_eventlog",
        ],
        &["--now", THEN, "--expect-report-data", "00"],
    ),
    (
        "tdx",
        &[
            "tdx/dcap-qvl/tdx_quote",
            "tdx/dcap-qvl/tdx_quote_collateral.json",
        ],
        &["--now", THEN],
    ),
    (
        "tdx-alone",
        &["tdx/dcap-qvl/quote-from-tappd.hex"],
        &["--now", THEN],
    ),
    (
        "sgx",
        &[
            "tdx/dcap-qvl/sgx_quote",
            "tdx/dcap-qvl/sgx_quote_collateral.json",
        ],
        &["--now", THEN],
    ),
    (
        "event-log",
        &["eventlog/sb_cert_eventlog"],
        &["--now", THEN],
    ),
    ("tpm", &["tpm/trustee_tpm_evidence.json"], &["--now", THEN]),
    (
        "tpm-with-a-log",
        &["tpm/trustee_tpm_evidence.json", "eventlog/sb_cert_eventlog"],
        &["--now", THEN],
    ),
];

/// What is printed, with files named below the directory of captures.
fn printed(files: &[&str], more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .arg("evidence")
        .args(files)
        .args(more)
        .current_dir(capture(""))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    format!(
        "{text}{errors}exit code {}\n",
        output.status.code().unwrap()
    )
}

fn kept(name: &str) -> PathBuf {
    let name = format!("tests/bare/{name}.txt");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whoever runs the tests, not the machine, whether to rewrite"
)]
fn compare(name: &str, found: &str) {
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1") {
        std::fs::write(kept(name), found).unwrap();
    }
    let expected = std::fs::read_to_string(kept(name)).unwrap();
    assert_eq!(found, expected, "{name}: UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn what_is_said_of_captures_is_as_it_was_reviewed() {
    for (name, files, more) in KEPT {
        compare(name, &printed(files, more));
    }
}

#[test]
fn registers_are_compared_with_the_values_that_are_named() {
    let directory = std::env::temp_dir().join(format!("bare-registers-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let trust = directory.join("trust.toml");
    let quote = std::fs::read(capture("tpm/trustee_tpm_evidence.json")).unwrap();
    let quote: Value = serde_json::from_slice(&quote).unwrap();
    let first = quote["tpm_quote"]["pcrs"][0].as_str().unwrap();
    let text = format!(
        "version = 1\n[reference.pcrs]\n0 = [\"{first}\"]\n4 = [\"{}\"]\n",
        "11".repeat(32)
    );
    std::fs::write(&trust, text).unwrap();
    let files = ["tpm/trustee_tpm_evidence.json"];
    let more = ["--now", THEN, "--trust", trust.to_str().unwrap()];
    let found = printed(&files, &more);
    std::fs::remove_dir_all(&directory).unwrap();
    let found = found.replace(trust.to_str().unwrap(), "trust.toml");
    compare("tpm-registers", &found);
}

#[test]
fn a_register_whose_value_is_known_has_to_be_among_those_that_are_there() {
    let directory = std::env::temp_dir().join(format!("bare-fewer-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let quote = std::fs::read(capture("tpm/trustee_tpm_evidence.json")).unwrap();
    let mut quote: Value = serde_json::from_slice(&quote).unwrap();
    let list = quote["tpm_quote"]["pcrs"].as_array_mut().unwrap();
    list.truncate(8);
    let first = list[0].as_str().unwrap().to_owned();
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (trust, evidence) = (path("trust.toml"), path("evidence.json"));
    std::fs::write(&evidence, quote.to_string()).unwrap();
    let text = format!("version = 1\n[reference.pcrs]\n0 = [\"{first}\"]\n8 = [\"{first}\"]\n");
    std::fs::write(&trust, text).unwrap();
    let (_, json) = judged(&[&evidence], &["--now", THEN, "--trust", &trust]);
    std::fs::remove_dir_all(&directory).unwrap();
    let failed = failed(&json);
    assert!(failed.contains(&"reference.pcr.8".to_owned()), "{failed:?}");
    assert!(
        !failed.contains(&"reference.pcr.0".to_owned()),
        "{failed:?}"
    );
}

/// A quote of a fake Intel's, its service's answers one by one, and a trust file that names its root and every value.
struct OneByOne {
    directory: PathBuf,
    trust: String,
    data: String,
}

impl OneByOne {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (quote, of) = (Quote::default(), Collateral::default());
        let answer = |name: &str, object: &str, signature: &[u8]| {
            let signature = hex::encode(signature);
            format!("{{\"{name}\":{object},\"signature\":\"{signature}\"}}").into_bytes()
        };
        let identity = of.qe_identity_signature();
        for (file, bytes) in [
            ("quote", quote.to_bytes()),
            (
                "tcb",
                answer("tcbInfo", &of.tcb_info, &of.tcb_info_signature()),
            ),
            ("qe", answer("enclaveIdentity", &of.qe_identity, &identity)),
            ("chain", of.tcb_info_chain.clone()),
            ("platform", of.pck_crl.sign(&of.pck_crl_by)),
            ("root", of.root_crl.sign(&of.root_crl_by)),
        ] {
            std::fs::write(directory.join(file), bytes).unwrap();
        }
        let root = RootDigest::of(&Intel::default().root_der());
        let registers = (0..).zip(quote.td.rtmrs).take(3);
        let registers: String = registers
            .map(|(number, value)| format!("{number} = [\"{}\"]\n", hex::encode(value)))
            .collect();
        let trust = format!(
            "version = 1\n[evidence]\nparties = [\"intel\"]\n[tdx]\nroots = [\"{root}\"]\n\
             [reference.launch]\ntdx = [\"{}\"]\n[reference.rtmrs]\n{registers}",
            hex::encode(quote.td.mrtd)
        );
        Self {
            directory,
            trust,
            data: hex::encode(quote.td.report_data),
        }
    }

    /// Of files in this order, with the trust file less the line that begins so.
    fn judged(&self, files: &[&str], less: Option<&str>) -> (i32, Value) {
        let kept = |line: &&str| !less.is_some_and(|beginning| line.starts_with(beginning));
        let kept: Vec<&str> = self.trust.lines().filter(kept).collect();
        let trust = kept.join("\n");
        let path = |name: &str| self.directory.join(name).to_str().unwrap().to_owned();
        std::fs::write(path("trust.toml"), trust).unwrap();
        let files: Vec<String> = files.iter().map(|name| path(name)).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let trust = path("trust.toml");
        let data = &self.data;
        let more = [
            "--now",
            NOW,
            "--trust",
            &trust,
            "--expect-report-data",
            data,
        ];
        judged(&files, &more)
    }
}

impl Drop for OneByOne {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// A time at which the fake Intel's collateral is valid.
const NOW: &str = "2026-01-10T00:00:00Z";
const ANSWERS: [&str; 6] = ["quote", "tcb", "qe", "chain", "platform", "root"];

#[test]
fn answers_of_intels_service_are_collateral_in_any_order() {
    let given = OneByOne::new("bare-answers");
    let mut files = ANSWERS;
    for _ in 0..2 {
        let (code, json) = given.judged(&files, None);
        assert_eq!((code, failed(&json)), (0, vec![]), "{json}");
        files.reverse();
    }
    // Of two lists of one issuer neither is the other's.
    let [quote, tcb, qe, chain, platform, root] = ANSWERS;
    for lists in [[platform; 2], [root; 2]] {
        let files = [quote, tcb, qe, chain, lists[0], lists[1]];
        assert_eq!(given.judged(&files, None), (4, Value::Null));
    }
}

#[test]
fn rules_and_every_value_of_a_trust_domain_have_to_be_named() {
    let given = OneByOne::new("bare-values");
    for less in ["tdx = ", "0 = ", "2 = "] {
        let (code, json) = given.judged(&ANSWERS, Some(less));
        assert_eq!((code, failed(&json)), (3, vec![]), "{json}");
        assert!(unchecked(&json).contains("rules or launch values for TDX"));
    }
}

#[test]
fn a_log_beside_a_quote_of_intels_is_judged_with_its_registers() {
    let given = OneByOne::new("bare-log");
    let log = capture("eventlog/sb_cert_eventlog");
    let files = [&ANSWERS[..], &[log.to_str().unwrap()]].concat();
    let (code, json) = given.judged(&files, None);
    assert_eq!(code, 1, "{json}");
    assert!(
        !unchecked(&json).contains("nobody signed the log"),
        "{json}"
    );
}

#[test]
fn nothing_is_verified_over_nothing() {
    let files = [
        "snp/captured/milan-v2-virtee.report",
        "snp/captured/milan-v2-virtee.der",
    ];
    let (code, json) = judged(&files, &["--now", THEN]);
    assert_eq!(code, 3);
    let checks = json["parts"][0]["checks"].as_array().unwrap();
    let data = checks
        .iter()
        .find(|c| c["code"] == "snp.report.data")
        .unwrap();
    assert_eq!(data["outcome"], "not checked");
    let (code, json) = judged(&files, &["--now", THEN, "--expect-report-data", "00"]);
    assert_eq!(
        (code, failed(&json)),
        (1, vec!["snp.report.data".to_owned()])
    );
}

#[test]
fn with_everything_named_a_capture_is_verified_and_one_wrong_value_is_against_policy() {
    let directory = std::env::temp_dir().join(format!("bare-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let trust = directory.join("trust.toml");
    let files = [
        "snp/captured/milan-v2-virtee.report",
        "snp/captured/milan-v2-virtee.der",
    ];
    let (_, json) = judged(&files, &["--now", THEN]);
    let says = json["parts"][0]["says"].as_array().unwrap();
    let said = |name: &str| {
        let value = says.iter().find(|s| s["name"] == name).unwrap();
        value["value"].as_str().unwrap().to_owned()
    };
    let (launch, data) = (said("measurement"), said("report data"));
    let text = |microcode: u8| {
        format!(
            "version = 1\n[evidence]\nparties = [\"amd\"]\n[snp]\nrevocation = \"optional\"\nplatform_required = []\n\
             products = [{{ name = \"Milan\", floor = {{ bootloader = 3, tee = 0, snp = 8, microcode = {microcode} }} }}]\n\
             [reference.launch]\nsnp = [\"{launch}\"]\n"
        )
    };
    let path = trust.to_str().unwrap();
    let more = [
        "--now",
        THEN,
        "--expect-report-data",
        &data,
        "--trust",
        path,
    ];
    std::fs::write(&trust, text(115)).unwrap();
    let (code, json) = judged(&files, &more);
    assert_eq!((code, failed(&json)), (0, vec![]));
    assert_eq!(json["parties"][0], "amd");
    std::fs::write(&trust, text(116)).unwrap();
    let (code, json) = judged(&files, &more);
    assert_eq!(code, 2);
    assert!(failed(&json).contains(&"snp.tcb.reported".to_owned()));
    // Rules without values, and values without rules, are half of what there has to be.
    let whole = text(115);
    let (head, rules) = whole.split_once("[snp]").unwrap();
    let (rules, values) = rules.split_once("[reference.launch]").unwrap();
    let launch = format!("{head}[reference.launch]{values}");
    for half in [format!("{head}[snp]{rules}"), launch] {
        std::fs::write(&trust, half).unwrap();
        let (code, json) = judged(&files, &more);
        assert_eq!((code, failed(&json)), (3, vec![]));
        assert!(unchecked(&json).contains("rules or launch values for SEV-SNP"));
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_is_no_evidence_is_usage_and_says_which_file() {
    for files in [
        &["snp/README.md"][..],
        &["snp/roots/milan-ark.der"],
        &[
            "snp/captured/milan-v2-virtee.report",
            "snp/captured/milan-v2-trustee.report",
        ],
        &["azure/trustee-snp/tpm-quote-v1.json"],
    ] {
        let (code, json) = judged(files, &[]);
        assert_eq!((code, json), (4, Value::Null), "{files:?}");
    }
}

#[test]
fn what_was_asked_and_compared_with_nothing_is_said_and_is_no_verdict() {
    let files = [
        "azure/trustee-snp/hcl-report.bin",
        "snp/captured/milan-v2-azure.der",
    ];
    let lacks = |files: &[&str], more: &[&str], why: &str| {
        let (code, json) = judged(files, more);
        assert_ne!(code, 0);
        let all = json["not_checked"].as_array().unwrap();
        let said = all.iter().any(|t| t.as_str().unwrap().contains(why));
        assert!(said, "{why}: {all:?}");
    };
    lacks(
        &files,
        &["--now", THEN, "--nonce", "00"],
        "no TPM quote that could be over it",
    );
    lacks(&files, &["--now", THEN], "anything fresh");
    lacks(
        &files,
        &["--now", THEN, "--expect-report-data", "00"],
        "the expected report data",
    );
    let beside = [files.as_slice(), &["snp/captured/milan-v2-debug.report"]].concat();
    lacks(&beside, &["--now", THEN], "beside the paravisor's");
    let with_log = [files.as_slice(), &["eventlog/sb_cert_eventlog"]].concat();
    lacks(&with_log, &["--now", THEN], "the event log");
    lacks(&files, &["--now", THEN], "parties");
}

#[test]
fn a_name_of_a_file_makes_no_line_of_the_result() {
    let directory = std::env::temp_dir().join(format!("bare-names-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("report\n  pass        snp.report.data");
    std::fs::copy(capture("snp/captured/milan-v2-virtee.report"), &path).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .args(["evidence", "--now", THEN])
        .arg(&path)
        .arg(capture("snp/captured/milan-v2-virtee.der"))
        .output()
        .unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty());
    assert!(
        !text
            .lines()
            .any(|l| l.starts_with("  pass        snp.report.data")),
        "{text}"
    );
}

/// A guest below a paravisor can ask for a report, too, over claims that it writes itself. The report says who asked.
#[test]
fn below_a_paravisor_a_report_for_less_than_its_privilege_is_refused() {
    let tpm = Key::rsa(Rsa::Tpm);
    let claims = Claims::new(&tpm, &Key::rsa(Rsa::Endorsement)).to_json();
    let directory = std::env::temp_dir().join(format!("bare-vmpl-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let judged_at = |vmpl: u32, paravisor: bool| {
        let draft = Draft::new(Product::Milan, Kind::Vcek).with(|draft| {
            draft.report.vmpl = vmpl;
            draft.report.report_data = azure::report_data(&claims);
        });
        let evidence = draft.build();
        let report = if paravisor {
            azure::Report::around(evidence.report, 2, &claims).to_bytes()
        } else {
            evidence.report
        };
        let files = [
            ("report.bin", report),
            ("key.der", evidence.key),
            ("issuer.der", evidence.issuer),
            ("root.der", evidence.root),
        ];
        let paths = files.map(|(name, bytes)| {
            let path = directory.join(name);
            std::fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        });
        let (_, json) = judged(&paths.each_ref().map(String::as_str), &["--now", THEN]);
        failed(&json).contains(&"snp.vmpl".to_owned())
    };
    assert!(judged_at(1, true));
    assert!(!judged_at(0, true));
    // Without a paravisor and without rules nothing is asked of a guest's privilege.
    assert!(!judged_at(1, false));
    std::fs::remove_dir_all(&directory).unwrap();
}
