//! Collateral of the site, and how far the machine's TCB is from the floor of a trust file.
//!
//! In: the profile found, a paravisor's report, what the site keeps, a trust file, a time. Out: findings
//! `collateral.*`. The appraisal is that of `countersign-verify evidence`.

use super::{Code, Finding};
use crate::boot::platform;
use crate::boot::platform::is_of_processor;
use crate::collateral::Collateral;
use countersign_platform::Profile;
use countersign_record::digest::UnixMillis;
use countersign_record::evidence::EndorsementKind;
use countersign_record::time;
use countersign_verify::bare::{Asked, Bare, Given, Line, judge, pieces, window};
use countersign_verify::report::Verdict;
use countersign_verify::trust::Trust;

/// From how many milliseconds before its end something is worth a word (7 days): Intel's answers hold for 30 days.
const SOON: u64 = 7 * 24 * 60 * 60 * 1000;

/// What is looked at.
pub struct Vendors<'a> {
    /// Which profile was found, if the TPM could be asked.
    pub profile: Option<Profile>,
    /// A paravisor's report.
    pub paravisor: Option<&'a [u8]>,
    /// A report of the processor, where it was asked for one, or why it gave none.
    pub processor: Option<&'a Result<Vec<u8>, String>>,
    /// What the site keeps, or why it could not be read.
    pub collateral: Result<&'a Collateral, String>,
    /// Whose floor counts, with the file's name.
    pub trust: Option<&'a (String, Trust)>,
    /// The time.
    pub now: UnixMillis,
}

/// All that begins with `collateral.`.
#[must_use]
pub fn findings(vendors: &Vendors<'_>) -> Vec<Finding> {
    match &vendors.collateral {
        Ok(collateral) => vec![
            present(vendors.profile, collateral),
            validity(collateral, vendors.now),
            tcb(vendors, collateral),
        ],
        Err(why) => {
            let code = Code::CollateralPresent;
            vec![code.fail(
                why.clone(),
                "mend or remove the file; `countersign collateral import` writes it anew",
            )]
        }
    }
}

fn present(profile: Option<Profile>, collateral: &Collateral) -> Finding {
    let code = Code::CollateralPresent;
    let Some(profile) = profile else {
        return code.unknown(
            "which is needed depends on the platform, which was not found",
            "see tpm.reachable",
        );
    };
    let profile = platform::named(profile);
    let endorsements = profile.endorsements();
    if endorsements.needed.is_empty() {
        return code.ok(format!("platform {profile} needs none"));
    }
    // The host may bring certificates of the processor, and is not asked here.
    let lacks = |kind: &EndorsementKind| !collateral.has(*kind);
    let missing = |kinds: &'static [_]| -> Vec<String> {
        let kinds = kinds.iter().filter(|kind| lacks(kind));
        kinds.map(ToString::to_string).collect()
    };
    let (needed, allowed) = (missing(endorsements.needed), missing(endorsements.allowed));
    if !needed.is_empty() {
        return code.fail(
            format!("platform {profile} needs {}, which collateral/ of the site does not have", needed.join(", ")),
            "`countersign collateral pull` fetches them where there is a network; elsewhere give them to `countersign \
             collateral import`. AMD: kdsintf.amd.com, or on Azure \
             http://169.254.169.254/metadata/THIM/amd/certification; Intel: api.trustedservices.intel.com; key-certificate: \
             the issuers that the certificate of Google's key names",
        );
    }
    if !allowed.is_empty() {
        return code.warn(
            format!("all that platform {profile} needs; {} is not there", allowed.join(", ")),
            "whoever requires a revocation list refuses evidence without one: `countersign collateral pull` or `import`",
        );
    }
    code.ok(format!("all that platform {profile} needs"))
}

fn validity(collateral: &Collateral, now: UnixMillis) -> Finding {
    let code = Code::CollateralValidity;
    let (mut over, mut soon, mut good) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, bytes) in collateral.iter() {
        let found = match pieces(bytes) {
            Ok(found) => found,
            Err(error) => {
                over.push(format!("{kind}: {error}"));
                continue;
            }
        };
        for window in found.iter().filter_map(window) {
            let until = time::format(window.until);
            if window.from > now {
                over.push(format!(
                    "{kind} is valid from {} on",
                    time::format(window.from)
                ));
            } else if window.until < now {
                over.push(format!("{kind} was valid until {until}"));
            } else if window.until.0.saturating_sub(now.0) < SOON {
                soon.push(format!("{kind} is valid until {until}"));
            } else {
                good.push(format!("{kind} until {until}"));
            }
        }
    }
    let import = "fetch it anew (`countersign collateral pull`, or `import` without a network); it goes into the next \
                  opening, so restart the gateway";
    if !over.is_empty() {
        code.fail(over.join("; "), import)
    } else if !soon.is_empty() {
        code.warn(soon.join("; "), import)
    } else if good.is_empty() {
        code.ok("the site keeps nothing that ends")
    } else {
        code.ok(good.join("; "))
    }
}

fn tcb(vendors: &Vendors<'_>, collateral: &Collateral) -> Finding {
    let code = Code::CollateralTcb;
    let (profile, what, report) = match (vendors.profile, vendors.paravisor) {
        (None, _) => return code.unknown("the TPM was not asked", "see tpm.reachable"),
        (Some(Profile::Tpm | Profile::Swtpm), _) => {
            return code.ok("there is no processor's report, so there is no TCB to compare");
        }
        (Some(Profile::AzureTdx), _) => {
            return code.unknown(
                "the TCB stands in a quote that the host's service makes, and doctor asks no network",
                "start the gateway: it says what an auditor will find",
            );
        }
        (Some(Profile::AzureSnp), None) => {
            return code.unknown("there is no paravisor's report", "see tpm.profile");
        }
        (Some(profile @ Profile::AzureSnp), Some(report)) => (profile, "paravisor report", report),
        (Some(profile @ (Profile::Snp | Profile::Tdx | Profile::GcpSnp | Profile::GcpTdx)), _) => {
            match vendors.processor {
                None => {
                    return code.unknown(
                        "the processor is asked for a report only if there is a floor to compare it with",
                        "name the trust file of whoever verifies with --trust",
                    );
                }
                Some(Err(why)) => {
                    return code.fail(
                        format!("the processor does not report: {why}"),
                        "see machine.tsm, and run doctor as the gateway's user",
                    );
                }
                Some(Ok(report)) => (profile, "processor's report", report.as_slice()),
            }
        }
    };
    let mut files = vec![Given {
        path: what.to_owned(),
        bytes: report.to_vec(),
    }];
    // What the site keeps for another platform would stand beside it as a second of its kind.
    let belonging = platform::named(profile).endorsements();
    let fits = |kind: EndorsementKind| {
        let named = belonging.needed.contains(&kind) || belonging.allowed.contains(&kind);
        named && is_of_processor(kind)
    };
    let kept = collateral.iter().filter(|(kind, _)| fits(*kind));
    files.extend(kept.map(|(kind, bytes)| Given {
        path: format!("collateral/{kind}"),
        bytes: bytes.to_vec(),
    }));
    let asked = Asked {
        trust: vendors.trust.cloned(),
        reference: None,
        report_data: None,
        nonce: None,
        now: vendors.now,
    };
    match judge(&files, &asked) {
        Ok(bare) => judged(&bare, vendors.trust.map(|(path, _)| path.as_str())),
        Err(error) => code.fail(
            format!("the machine's report cannot be appraised: {error}"),
            "see collateral.present",
        ),
    }
}

fn judged(bare: &Bare, trust: Option<&str>) -> Finding {
    let code = Code::CollateralTcb;
    let lines = || bare.parts.iter().flat_map(|part| &part.checks);
    let said = |lines: Vec<&Line>| -> String {
        let said = lines.iter().map(|l| format!("{}: {}", l.code, l.reason));
        said.collect::<Vec<_>>().join("; ")
    };
    let failed: Vec<&Line> = lines().filter(|l| l.outcome == "fail").collect();
    let levels: Vec<&Line> = lines().filter(|l| l.code.contains(".tcb.")).collect();
    let levels = said(levels);
    match (bare.verdict, trust) {
        (Verdict::Untrusted, _) => code.fail(
            said(failed),
            "either the collateral is not this machine's, or its report is not genuine: import what the vendor gives \
             for this chip, and ask the provider",
        ),
        (Verdict::AgainstPolicy, Some(path)) => code.fail(
            format!("under {path}: {}", said(failed)),
            "below a floor: have the provider update the firmware, or move to an updated host; another rule: set the \
             machine up as it asks. Whoever wrote the trust file decides",
        ),
        (Verdict::Verified, Some(path)) => code.ok(format!("under {path}: {levels}")),
        (Verdict::CannotBeEvaluated, Some(path)) => {
            let open = lines().filter(|l| l.outcome == "not checked").collect();
            code.warn(
                format!("under {path} nothing fails, and not all was said: {}", said(open)),
                "name the missing values in the trust file (tables [snp], [azure], [reference])",
            )
        }
        (Verdict::Verified | Verdict::AgainstPolicy | Verdict::CannotBeEvaluated, None) => code.unknown(
            format!("genuine as far as was looked; no floor to compare with: {levels}"),
            "name the trust file of whoever verifies with --trust",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// A time at which the captures' certificates are valid.
    const THEN: UnixMillis = UnixMillis(1_750_000_000_000);

    fn capture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../verifier/evidence/vectors")
            .join(name)
    }

    fn site(files: &[&str]) -> tempfile::TempDir {
        let site = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = files.iter().map(|f| capture(f)).collect();
        Collateral::import(site.path(), &files).unwrap();
        site
    }

    const CHAIN: [&str; 3] = [
        "snp/captured/milan-v2-azure.der",
        "snp/roots/milan-ask.der",
        "snp/roots/milan-ark.der",
    ];

    fn looked(
        files: &[&str],
        profile: Profile,
        trust: Option<&str>,
        now: UnixMillis,
    ) -> Vec<Finding> {
        let site = site(files);
        let collateral = Collateral::read(site.path()).unwrap();
        let report = fs::read(capture("azure/trustee-snp/hcl-report.bin")).unwrap();
        let trust = trust.map(|text| {
            let trust = Trust::parse(text.as_bytes()).unwrap();
            ("trust.toml".to_owned(), trust)
        });
        findings(&Vendors {
            profile: Some(profile),
            paravisor: Some(&report),
            processor: None,
            collateral: Ok(&collateral),
            trust: trust.as_ref(),
            now,
        })
    }

    /// A trust file with a floor of this number of SNP firmware.
    fn floor(snp: u8) -> String {
        let zeros = "00".repeat(32);
        format!(
            "version = 1\n[governance]\nkeys = [\"43a72e714401762df66b68c26dfbdf2682aaec9f2474eca4613e424a0fbafd3c\"]\n\
             [bundles]\nsigners = [\"0b513ad9b4924015ca0902ed079044d3ac5dbec2306f06948c10da8eb6e39f2d\"]\nthreshold = 1\n\
             [evidence]\naccept = [\"paravisor-tpm\"]\nparties = [\"amd\", \"microsoft-paravisor\"]\n\
             [snp]\n[[snp.products]]\nname = \"Milan\"\n\
             floor = {{ bootloader = 0, tee = 0, snp = {snp}, microcode = 0 }}\n[azure]\n\
             [reference]\nbuild = [\"{zeros}\"]\nconfiguration = [\"{zeros}\"]\n[reference.pcrs]\n4 = [\"{zeros}\"]\n"
        )
    }

    #[test]
    fn missing_collateral_is_named_with_what_to_do() {
        let found = looked(&[], Profile::AzureSnp, None, THEN);
        assert_eq!(found[0].state, State::Fail);
        assert!(
            found[0].found.contains("amd-vek, amd-issuer, amd-root"),
            "{:?}",
            found[0]
        );
        let advice = found[0].advice.as_deref().unwrap();
        assert!(advice.contains("collateral import"), "{advice}");
        assert_eq!(found[1].state, State::Ok);
        assert_eq!(found[2].state, State::Fail, "{:?}", found[2]);
        let plain = looked(&[], Profile::Tpm, None, THEN);
        assert!(plain.iter().all(|f| f.state == State::Ok), "{plain:?}");
    }

    #[test]
    fn a_missing_revocation_list_is_a_word_and_no_failure() {
        let found = looked(&CHAIN, Profile::AzureSnp, None, THEN);
        assert_eq!(found[0].state, State::Warn);
        assert!(found[0].found.contains("amd-crl"), "{:?}", found[0]);
    }

    #[test]
    fn certificates_that_end_or_have_not_begun_are_named() {
        let at = |millis| looked(&CHAIN, Profile::AzureSnp, None, UnixMillis(millis)).remove(1);
        let good = at(THEN.0);
        assert!(
            good.state == State::Ok && good.found.contains("amd-vek until 2"),
            "{good:?}"
        );
        let over = at(4_000_000_000_000);
        assert_eq!(over.state, State::Fail);
        assert!(
            over.found.contains("amd-root was valid until 2045-10-22"),
            "{over:?}"
        );
        let before = at(1_000_000_000_000);
        assert!(
            before.found.contains("amd-root is valid from 2020-10-22"),
            "{before:?}"
        );
        let root_ends = time::parse("2045-10-22T17:23:05Z").unwrap();
        let ending = looked(
            &CHAIN[1..],
            Profile::AzureSnp,
            None,
            UnixMillis(root_ends.0 - 1000),
        );
        assert_eq!(ending[1].state, State::Warn, "{ending:?}");
    }

    #[test]
    fn a_tcb_below_the_floor_fails_and_says_both() {
        let high = floor(255);
        let below = looked(&CHAIN, Profile::AzureSnp, Some(&high), THEN).remove(2);
        assert_eq!(below.state, State::Fail);
        assert!(
            below.found.contains("snp.tcb.reported") && below.found.contains("255"),
            "{below:?}"
        );
        let low = floor(0);
        let above = looked(&CHAIN, Profile::AzureSnp, Some(&low), THEN).remove(2);
        assert!(
            !above.found.contains("snp.tcb.reported: reported 0"),
            "{above:?}"
        );
        assert_ne!(above.state, State::Unknown, "{above:?}");
        assert!(!above.found.contains("255"), "{above:?}");
        let nobody = looked(&CHAIN, Profile::AzureSnp, None, THEN).remove(2);
        assert_eq!(nobody.state, State::Unknown, "{nobody:?}");
        assert!(nobody.advice.unwrap().contains("--trust"));
    }

    #[test]
    fn what_is_kept_for_another_platform_does_not_disturb() {
        let intel = "tdx/dcap-qvl/tdx_quote_collateral.json";
        let both = [CHAIN[0], CHAIN[1], CHAIN[2], intel];
        let found = looked(&both, Profile::AzureSnp, None, THEN).remove(2);
        assert_eq!(found.state, State::Unknown, "{found:?}");
    }

    #[test]
    fn collateral_of_another_chip_does_not_pass() {
        let other = ["snp/captured/milan-v2-virtee.der", CHAIN[1], CHAIN[2]];
        let found = looked(&other, Profile::AzureSnp, None, THEN).remove(2);
        assert_eq!(found.state, State::Fail, "{found:?}");
    }
}
