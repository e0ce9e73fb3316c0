//! Exports of gateways on processors that make reports, alone and below a paravisor: under a fake vendor's roots, which
//! the trust file names.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::common::platform::{
    endorsement_table, intel_answers, launch, trust_google, trust_google_intel, trust_intel,
    trust_platform as trust, trust_snp,
};
use crate::common::{Mini, NOW, fill, sample};
use countersign_record::binding::Profile;
use countersign_record::cbor::Bytes;
use countersign_record::digest::UnixMillis;
use countersign_record::evidence::{Endorsement, EndorsementKind, PlatformEvidence};
use countersign_verify::report::{Report, Verdict};
use countersign_verify::trust::Trust;
use countersign_verify::{Options, verify};

fn judged(log: &Mini, trust: &str) -> Report {
    judged_at(log, trust, NOW)
}

fn judged_at(log: &Mini, trust: &str, now: UnixMillis) -> Report {
    let trust = Trust::parse(trust.as_bytes()).unwrap();
    verify(log.export().as_slice(), &trust, &Options::default(), now)
}

fn state(report: &Report, code: &str) -> String {
    let check = report.checks.iter().find(|c| c.code == code).unwrap();
    format!("{:?}", check.state)
}

fn reasons(report: &Report, code: &str) -> String {
    let check = report.checks.iter().find(|c| c.code == code).unwrap();
    let texts: Vec<&str> = check.findings.iter().map(|f| f.text.as_str()).collect();
    texts.join("; ")
}

/// A log with one call on Azure, with a change of its platform.
fn azure(change: impl FnOnce(&mut Mini)) -> Mini {
    let mut log = Mini::new(Profile::AzureSnp);
    change(&mut log);
    fill(&mut log);
    log
}

fn fails(log: &Mini, code: &str, why: &str) {
    let report = judged(log, &trust());
    assert_eq!(
        report.first_failure,
        Some(code),
        "{}",
        reasons(&report, code)
    );
    assert!(
        reasons(&report, code).contains(why),
        "{}",
        reasons(&report, code)
    );
}

#[test]
fn a_gateway_below_a_paravisor_is_verified_and_the_parties_are_printed() {
    let report = judged(&sample(Profile::AzureSnp), &trust());
    assert_eq!(
        report.verdict,
        Verdict::Verified,
        "{:?}",
        report.first_failure
    );
    assert_eq!(report.subject.rests_on, ["amd", "microsoft-paravisor"]);
    assert!(
        report.headline.contains("a TPM in the paravisor"),
        "{}",
        report.headline
    );
    assert!(report.axes.vouched.contains("paravisor-tpm"));
}

#[test]
fn a_gateway_on_a_processor_alone_is_genuine_and_nobody_certifies_its_counter() {
    let report = judged(&sample(Profile::Snp), &trust());
    assert_eq!(report.verdict, Verdict::CannotBeEvaluated);
    for code in [
        "evidence-set",
        "evidence",
        "attestation-key",
        "evidence-class",
        "parties",
        "platform-rules",
        "launch",
        "pcr-values",
    ] {
        assert_eq!(
            state(&report, code),
            "Pass",
            "{code}: {}",
            reasons(&report, code)
        );
    }
    assert_eq!(state(&report, "counter"), "CannotTell");
    assert!(reasons(&report, "counter").contains("nobody certifies"));
}

#[test]
fn a_gateway_on_intels_processors_is_judged_with_its_registers() {
    let report = judged(&sample(Profile::AzureTdx), &trust_intel());
    assert_eq!(
        report.verdict,
        Verdict::Verified,
        "{:?}",
        report.first_failure
    );
    assert_eq!(report.subject.rests_on, ["intel", "microsoft-paravisor"]);
    let report = judged(&sample(Profile::Tdx), &trust_intel());
    assert_eq!(state(&report, "launch"), "Pass");
    // Without a TPM the registers alone say what was booted.
    let without = trust_intel();
    let without = without.split("[reference.rtmrs]").next().unwrap();
    let report = judged(&sample(Profile::Tdx), without);
    assert!(reasons(&report, "launch").contains("RTMR0"));
}

#[test]
fn whoever_is_not_named_is_not_relied_on() {
    let report = judged(
        &sample(Profile::AzureSnp),
        &trust().replace(", \"microsoft-paravisor\"", ""),
    );
    assert_eq!(report.first_failure, Some("parties"));
    assert_eq!(report.verdict, Verdict::AgainstPolicy);
    let parties = "parties = [\"amd\", \"microsoft-paravisor\"]";
    let report = judged(&sample(Profile::AzureSnp), &trust().replace(parties, ""));
    assert_eq!(report.verdict, Verdict::CannotBeEvaluated);
    assert_eq!(state(&report, "parties"), "CannotTell");
}

#[test]
fn without_rules_for_processors_there_is_no_verdict() {
    for table in ["[azure]\n", &trust_snp()] {
        let report = judged(&sample(Profile::AzureSnp), &trust().replace(table, ""));
        if table == "[azure]\n" {
            assert_eq!(report.verdict, Verdict::CannotBeEvaluated);
            assert_eq!(state(&report, "platform-rules"), "CannotTell");
        } else {
            // Without the table the vendor's own roots count, and this is no chip of AMD's.
            assert_eq!(report.verdict, Verdict::Untrusted);
            assert!(reasons(&report, "evidence").contains("snp.root.pinned"));
        }
    }
}

#[test]
fn the_launch_measurement_has_to_be_known() {
    let report = judged(
        &sample(Profile::AzureSnp),
        &trust().replace(&launch(), &"ab".repeat(48)),
    );
    assert_eq!(report.first_failure, Some("launch"));
    let line = format!("azure-snp = [\"{}\"]", launch());
    // What is right for another platform says nothing on this one.
    let report = judged(&sample(Profile::AzureSnp), &trust().replace(&line, ""));
    assert_eq!(report.verdict, Verdict::CannotBeEvaluated);
    assert!(reasons(&report, "launch").contains("what azure-snp launches"));
}

#[test]
fn a_floor_that_is_not_reached_is_against_policy() {
    let report = judged(
        &sample(Profile::AzureSnp),
        &trust().replace("microcode = 1 ", "microcode = 255 "),
    );
    assert_eq!(report.first_failure, Some("platform-rules"));
    assert_eq!(report.verdict, Verdict::AgainstPolicy);
    assert!(reasons(&report, "platform-rules").contains("snp.tcb.reported"));
}

#[test]
fn what_a_debugger_could_read_is_not_trusted() {
    let log = azure(|l| l.platform.snp = Some(|d| d.report.policy |= 1 << 19));
    fails(&log, "evidence", "snp.guest.debug");
}

#[test]
fn a_report_over_other_claims_is_refused() {
    let log = azure(|l| l.platform.snp = Some(|d| d.report.report_data[0] ^= 1));
    fails(&log, "evidence", "azure.runtime.binding");
}

#[test]
fn a_report_over_another_anchor_is_refused() {
    let mut log = Mini::new(Profile::Snp);
    log.platform.snp = Some(|d| d.report.report_data[63] ^= 1);
    fill(&mut log);
    fails(&log, "evidence", "snp.report.data");
}

#[test]
fn a_key_that_the_paravisor_does_not_name_vouches_for_nothing() {
    let log = azure(|l| {
        l.platform.claims = Some(|c| {
            let other =
                countersign_devices::key::Key::rsa(countersign_devices::key::Rsa::Endorsement);
            *c = countersign_devices::azure::Claims::new(&other, &other);
        });
    });
    fails(&log, "evidence", "tpm.certify.signer.vouched");
}

#[test]
fn a_word_about_another_key_or_another_opening_is_refused() {
    let log = azure(|l| l.platform.certify = Some(|s| s.attested[5] ^= 1));
    fails(&log, "evidence", "tpm.certify.key.name");
    let log = azure(|l| l.platform.certify = Some(|s| s.qualifying[0] ^= 1));
    fails(&log, "evidence", "tpm.certify.qualifying");
}

#[test]
fn a_container_that_was_exchanged_is_not_what_the_tpm_signed_over() {
    let mut log = azure(|_| {});
    let place = log
        .artifacts
        .iter()
        .position(|a| a.kind.contains("platform-evidence"))
        .unwrap();
    let mut evidence = <PlatformEvidence as countersign_record::cbor::Cbor>::from_bytes(
        &log.artifacts[place].bytes.0,
    )
    .unwrap();
    evidence.endorsements.pop();
    log.artifacts[place].bytes = Bytes(countersign_record::cbor::Cbor::to_bytes(&evidence));
    let report = judged(&log, &trust());
    assert_eq!(report.verdict, Verdict::Untrusted);
}

#[test]
fn the_set_is_exact() {
    type Change = fn(&mut PlatformEvidence);
    let changes: [(Change, &str); 6] = [
        (
            |e| e.endorsements.truncate(2),
            "needs an endorsement amd-root",
        ),
        (
            |e| e.endorsements.swap(0, 1),
            "not in the order of their kinds",
        ),
        (
            |e| {
                e.endorsements.push(Endorsement {
                    kind: EndorsementKind::GoogleLaunch,
                    bytes: Bytes(vec![1]),
                });
            },
            "does not have an endorsement google-launch",
        ),
        (|e| e.key = None, "needs a key of the platform"),
        (
            |e| e.report = Some(Bytes(vec![1])),
            "does not have a processor's report",
        ),
        (
            |e| e.profile = Profile::GcpSnp,
            "evidence of profile gcp-snp",
        ),
    ];
    for (change, why) in changes {
        let log = azure(|l| l.platform.after = Some(change));
        fails(&log, "evidence-set", why);
    }
}

#[test]
fn a_processors_report_alone_does_not_stand_for_a_platform_with_a_tpm() {
    let mut log = Mini::new(Profile::AzureSnp);
    log.edits.references = Some(|refs| {
        refs.remove(0);
    });
    fill(&mut log);
    fails(&log, "evidence-set", "has exactly 2");
}

#[test]
fn a_list_that_nobody_asked_for_and_a_root_that_is_no_vendors_are_said() {
    let log = azure(|l| l.platform.snp = Some(|d| d.crl = None));
    let allowed = trust().replace(
        "[[snp.products]]",
        "revocation = \"optional\"\n[[snp.products]]",
    );
    let report = judged(&log, &allowed);
    assert_eq!(
        report.verdict,
        Verdict::Verified,
        "{:?}",
        report.first_failure
    );
    let said = report.not_proved.join("; ");
    assert!(said.contains("no revocation list"), "{said}");
    assert!(said.contains("in the vendor's place"), "{said}");
}

#[test]
fn what_expired_since_is_said_and_takes_nothing_back() {
    let text = trust();
    let report = judged_at(
        &sample(Profile::AzureSnp),
        &text,
        UnixMillis(1_800_000_000_000),
    );
    assert_eq!(
        report.verdict,
        Verdict::Verified,
        "{:?}",
        report.first_failure
    );
    let said = report.not_proved.iter().find(|t| t.contains("today"));
    assert!(said.unwrap().contains("snp.chain.validity"), "{said:?}");
}

/// A log with one call on Google's machines, with a change of its platform.
fn google(change: impl FnOnce(&mut Mini)) -> Mini {
    let mut log = Mini::new(Profile::GcpSnp);
    change(&mut log);
    fill(&mut log);
    log
}

#[test]
fn a_gateway_on_googles_machines_is_verified_and_what_joins_both_is_said() {
    for (profile, trust, processor) in [
        (Profile::GcpSnp, trust_google(), "amd"),
        (Profile::GcpTdx, trust_google_intel(), "intel"),
    ] {
        let report = judged(&sample(profile), &trust);
        assert_eq!(
            report.verdict,
            Verdict::Verified,
            "{:?}",
            report.first_failure
        );
        assert_eq!(report.subject.rests_on, [processor, "google-hypervisor"]);
        assert!(report.headline.contains("a TPM in the hypervisor"));
        let said = report.not_proved.join("; ");
        assert!(said.contains("nothing but the anchor"), "{said}");
        assert!(said.contains("not proven on captured evidence"), "{said}");
    }
}

#[test]
fn what_googles_certificate_does_not_say_is_refused() {
    type Change = fn(&mut Mini);
    let changes: [(Change, &str); 6] = [
        (
            |l| l.platform.snp = Some(|d| d.report.report_data[63] ^= 1),
            "snp.report.data",
        ),
        (
            |l| {
                l.platform.key_chain = Some(|c| {
                    c.leaf.key = countersign_devices::key::Key::p256(9).spki();
                });
            },
            "tpm.certify.signer.vouched",
        ),
        (
            |l| l.platform.key_chain = Some(|c| c.keys.reverse()),
            "tpm.chain.path",
        ),
        (
            |l| l.platform.key_chain = Some(|c| c.leaf.not_after = 1_769_904_000_000),
            "tpm.chain.validity",
        ),
        (
            |l| {
                l.platform.key_chain = Some(|c| {
                    c.leaf.extensions[1] = countersign_devices::x509::Extension::usage(0x20);
                });
            },
            "tpm.chain.purpose",
        ),
        (
            |l| l.platform.certify = Some(|s| s.qualifying[0] ^= 1),
            "tpm.certify.qualifying",
        ),
    ];
    for (change, why) in changes {
        let report = judged(&google(change), &trust_google());
        assert_eq!(report.first_failure, Some("evidence"), "{why}");
        assert!(
            reasons(&report, "evidence").contains(why),
            "{}",
            reasons(&report, "evidence")
        );
    }
}

#[test]
fn a_key_under_another_root_than_googles_vouches_for_nothing() {
    let root = trust_google();
    let root = root.lines().find(|l| l.starts_with("roots = [\"")).unwrap();
    let report = judged(&sample(Profile::GcpSnp), &trust_google().replace(root, ""));
    assert_eq!(report.first_failure, Some("evidence"));
    assert!(reasons(&report, "evidence").contains("tpm.chain.root"));
}

#[test]
fn machines_that_are_named_are_the_only_ones() {
    let named = |id: u64| {
        let line = format!("[gcp]\ninstances = [{{ project = \"project\", id = {id} }}]");
        trust_google().replace("[gcp]", &line)
    };
    let report = judged(&sample(Profile::GcpSnp), &named(42));
    assert_eq!(report.verdict, Verdict::Verified);
    let report = judged(&sample(Profile::GcpSnp), &named(43));
    assert_eq!(report.first_failure, Some("platform-rules"));
    assert!(reasons(&report, "platform-rules").contains("tpm.chain.instance"));
}

#[test]
fn googles_word_on_the_firmware_can_stand_for_a_reference_value() {
    let launched = format!("gcp-snp = [\"{}\"]", launch());
    let with = |line: &str| {
        let table = format!("{}{line}\n[reference]", endorsement_table());
        trust_google()
            .replace("[reference]", &table)
            .replace(&launched, "")
    };
    let log = google(|l| l.platform.launch = Some(|_| ()));
    let report = judged(&log, &with("stands_for_launch = true"));
    assert_eq!(
        report.verdict,
        Verdict::Verified,
        "{}",
        reasons(&report, "platform-rules")
    );
    let said = report.not_proved.join("; ");
    assert!(said.contains("stands for one"), "{said}");
    // Unless it is said to stand for it, it does not.
    let report = judged(&log, &with(""));
    assert_eq!(state(&report, "launch"), "CannotTell");
    // A reference value that was given decides.
    let other = launched.replace(&launch(), &"ab".repeat(48));
    let table = "[reference.launch]\n";
    let other = with("stands_for_launch = true").replace(table, &format!("{table}{other}\n"));
    assert_eq!(judged(&log, &other).first_failure, Some("launch"));
    // Who asks for a statement and gets none has a named failure.
    let report = judged(&sample(Profile::GcpSnp), &with("stands_for_launch = true"));
    assert_eq!(report.first_failure, Some("platform-rules"));
    assert!(reasons(&report, "platform-rules").contains("none came"));
}

#[test]
fn a_statement_about_other_firmware_is_refused_whether_it_is_asked_for_or_not() {
    let asked = trust_google().replace("[reference]", &(endorsement_table() + "[reference]"));
    for trust in [trust_google(), asked.clone()] {
        let log = google(|l| {
            l.platform.launch = Some(|e| {
                e.snp = countersign_devices::google::snp_measurements(5, &[7; 48]);
            });
        });
        let report = judged(&log, &trust);
        assert_eq!(report.first_failure, Some("evidence"));
        assert!(reasons(&report, "evidence").contains("gcp.endorsement.measurement"));
    }
    let old = google(|l| {
        l.platform.launch = Some(|e| {
            let mut measurement = [0; 48];
            measurement.copy_from_slice(&hex::decode(crate::common::platform::launch()).unwrap());
            e.snp = countersign_devices::google::snp_measurements(4, &measurement);
        });
    });
    let report = judged(&old, &asked);
    assert_eq!(report.first_failure, Some("platform-rules"));
    assert!(reasons(&report, "platform-rules").contains("gcp.endorsement.svn"));
    // Nobody asked: it is genuine in itself, and a report says that it was compared with nobody's root.
    let log = google(|l| l.platform.launch = Some(|_| ()));
    let report = judged(&log, &trust_google());
    assert_eq!(report.verdict, Verdict::Verified);
    assert!(report.not_proved.join("; ").contains("names no root"));
}

/// 2026-08-01: half a year after the logs of these tests.
const LATER: u64 = 1_785_542_400_000;

fn judged_with(log: &Mini, trust: &str, files: &[Vec<u8>]) -> (Report, String) {
    let mut options = Options::default();
    for file in files {
        options.today.take(file).unwrap();
    }
    let trust = Trust::parse(trust.as_bytes()).unwrap();
    let now = UnixMillis(LATER);
    let report = verify(log.export().as_slice(), &trust, &options, now);
    let said = report.not_proved.join("; ");
    (report, said)
}

/// AMD's list of the later time, with or without the issuer of the signing key.
fn list_of_later(revoked: bool) -> Vec<u8> {
    use countersign_devices::snp::{Draft, Kind, Product};
    let draft = Draft::new(Product::Genoa, Kind::Vcek);
    let mut list = draft.crl.clone().unwrap();
    list.this_update = LATER - 86_400_000;
    list.next_update = Some(LATER + 86_400_000);
    if revoked {
        list.revoked
            .push((draft.issuer.serial, LATER - 864_000_000));
    }
    list.sign(&draft.crl_by)
}

#[test]
fn what_was_revoked_since_is_said_by_the_auditors_own_list_and_takes_nothing_back() {
    let log = sample(Profile::AzureSnp);
    let (report, said) = judged_with(&log, &trust(), &[list_of_later(true)]);
    assert_eq!(report.verdict, Verdict::Verified);
    assert!(said.contains("by what you gave"), "{said}");
    assert!(said.contains("snp.chain.revocation"), "{said}");
    let (report, said) = judged_with(&log, &trust(), &[list_of_later(false)]);
    assert_eq!(report.verdict, Verdict::Verified);
    assert!(said.contains("nothing speaks against it"), "{said}");
    // Without it nobody knows.
    let (_, said) = judged_with(&log, &trust(), &[]);
    assert!(!said.contains("what you gave"), "{said}");
}

#[test]
fn a_list_about_something_else_is_not_taken_for_one_about_this() {
    let of_intel = countersign_devices::tdx::Collateral::default();
    let list = of_intel.root_crl.sign(&of_intel.root_crl_by);
    let (_, said) = judged_with(&sample(Profile::AzureSnp), &trust(), &[list]);
    assert!(said.contains("nothing that you gave"), "{said}");
    let (_, said) = judged_with(
        &sample(Profile::Tdx),
        &trust_intel(),
        &[list_of_later(false)],
    );
    assert!(said.contains("nothing that you gave"), "{said}");
}

#[test]
fn intels_collateral_of_today_is_the_auditors() {
    let mut of = countersign_devices::tdx::Collateral::default();
    for text in [&mut of.tcb_info, &mut of.qe_identity] {
        *text = text.replace("2026-01-27", "2026-08-27");
    }
    for list in [&mut of.root_crl, &mut of.pck_crl] {
        list.next_update = Some(LATER + 86_400_000);
    }
    let log = sample(Profile::Tdx);
    let (_, said) = judged_with(&log, &trust_intel(), &intel_answers(&of));
    assert!(said.contains("nothing speaks against it"), "{said}");
    // The platform lacks updates by now.
    of.tcb_info = of.tcb_info.replace("\"UpToDate\"", "\"OutOfDate\"");
    let (report, said) = judged_with(&log, &trust_intel(), &intel_answers(&of));
    assert!(said.contains("tdx.tcb"), "{said}");
    assert_eq!(state(&report, "platform-rules"), "Pass");
    // About another family of platforms it says nothing.
    of.tcb_info = of
        .tcb_info
        .replace("\"fmspc\":\"", "\"fmspc\":\"ff")
        .replace("\"ff00", "\"ff");
    let [info, ..] = intel_answers(&of);
    let (_, said) = judged_with(&log, &trust_intel(), &[info]);
    assert!(said.contains("nothing that you gave"), "{said}");
    // What cannot be read is no success.
    let broken = br#"{"enclaveIdentity":{},"signature":"zz"}"#.to_vec();
    let (_, said) = judged_with(&log, &trust_intel(), &[broken]);
    assert!(said.contains("cannot be read"), "{said}");
}
