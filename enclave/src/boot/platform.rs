//! The platform's evidence: of a TPM, of a processor, of both, with what vendors say of it.
//!
//! In: the platform's attester, and the collateral of this site ([`crate::collateral`]). Out: containers, kept
//! beside the log, in the set that the profile names. Where a report stands beside a TPM's evidence of an opening, the TPM signs over
//! the digest of its container; where a processor reports alone, that container is the evidence of every use.
//!
//! What comes from the host is nobody's word: certificates of its table, a quote that its service made. A verifier judges
//! them by their vendors' signatures. Here they are looked at once before an epoch rests on them, so that whoever runs the
//! gateway learns at its start what an auditor would find later.
//!
//! Spec: `docs/spec/evidence.md`, "Platform profiles".

use super::tracing_line;
use crate::collateral::Collateral;
use anyhow::{Context as _, bail};
use countersign_evidence::tdx::without_padding;
use countersign_journal::Journal;
use countersign_platform::processor::ReportData;
use countersign_platform::{Attester, Evidence, PlatformReport, PlatformWord, Qualifying};
use countersign_record::binding::Profile;
use countersign_record::body::EvidenceRef;
use countersign_record::body::lifecycle::{PLATFORM_EVIDENCE_KIND, TPM_EVIDENCE_KIND};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::digest::{Anchor, ArtifactDigest, UnixMillis};
use countersign_record::evidence::{
    EndorsementKind, PcrValue, PlatformEvidence, PlatformKey, TpmEvidence,
};
use countersign_verify::bare::{Asked, Given, Line, judge, tpm_persisted};
use std::path::PathBuf;
use std::sync::Arc;

/// The platform, which is asked for evidence.
#[derive(Clone)]
pub struct Platform {
    attester: Arc<dyn Attester>,
    /// Where the site's collateral is.
    site: PathBuf,
}

/// Evidence in its container.
#[derive(Debug)]
pub struct Container {
    kind: &'static str,
    /// As it is kept.
    pub bytes: Vec<u8>,
}

impl Container {
    /// Keeps it beside the log.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn keep(&self, journal: &Journal) -> anyhow::Result<EvidenceRef> {
        let digest = journal.put_artifact(self.kind, &self.bytes)?;
        Ok(EvidenceRef {
            kind: self.kind.to_owned(),
            digest,
        })
    }
}

impl Platform {
    /// The platform that this attester speaks for.
    #[must_use]
    pub fn new(attester: Arc<dyn Attester>, site: PathBuf) -> Self {
        Self { attester, site }
    }

    /// Which platform this is.
    #[must_use]
    pub fn profile(&self) -> countersign_platform::Profile {
        self.attester.profile()
    }

    /// The same, as the record names it.
    #[must_use]
    pub fn named(&self) -> Profile {
        named(self.profile())
    }

    /// Whether the platform would give all that an opening needs. Moves nothing and keeps nothing.
    ///
    /// # Errors
    /// What is missing.
    pub fn expect(&self, now: UnixMillis) -> anyhow::Result<()> {
        if let Some(evidence) = self.reported(Anchor([0; 64]))? {
            for line in doubts(&evidence, now)? {
                tracing_line(&line);
            }
        }
        Ok(())
    }

    /// The evidence of an opening: the containers that the profile has, in their order.
    ///
    /// # Errors
    /// If the platform does not give what its profile needs, or collateral is missing.
    pub fn opening(&self, anchor: Anchor, now: UnixMillis) -> anyhow::Result<Vec<Container>> {
        let beside = match self.reported(anchor)? {
            None => None,
            Some(evidence) => {
                doubts(&evidence, now)?;
                Some(Container::of_platform(&evidence))
            }
        };
        if !self.named().has_tpm() {
            return Ok(beside.into_iter().collect());
        }
        let qualifying = match &beside {
            Some(beside) => anchor.qualifying_beside(ArtifactDigest::of(&beside.bytes)),
            None => anchor.qualifying(),
        };
        let tpm = self.later(qualifying.0)?;
        Ok(std::iter::once(tpm).chain(beside).collect())
    }

    /// The evidence of a renewal, a close, or of this moment.
    ///
    /// # Errors
    /// If the platform does not give it, or collateral is missing.
    pub fn later(&self, qualifying: [u8; 32]) -> anyhow::Result<Container> {
        let evidence = self
            .attester
            .attest(Qualifying(qualifying))
            .context("the platform does not attest")?;
        match evidence {
            Evidence::Tpm(tpm) => Ok(Container::of_tpm(self.named(), tpm)),
            Evidence::Processor(report) => {
                let evidence = self.endorsed(report.into())?;
                Ok(Container::of_platform(&evidence))
            }
        }
    }

    /// Asks the platform, and puts what vendors say beside its answer; nothing where a TPM stands alone.
    fn reported(&self, anchor: Anchor) -> anyhow::Result<Option<PlatformEvidence>> {
        let qualifying = Qualifying(anchor.qualifying().0);
        let found = self
            .attester
            .platform(ReportData(anchor.0), qualifying)
            .context("the platform does not report")?;
        found.map(|found| self.endorsed(found)).transpose()
    }

    fn endorsed(&self, found: PlatformReport) -> anyhow::Result<PlatformEvidence> {
        container(self.named(), found, Collateral::read(&self.site)?)
    }
}

impl Container {
    fn of_platform(evidence: &PlatformEvidence) -> Self {
        Self {
            kind: PLATFORM_EVIDENCE_KIND,
            bytes: evidence.to_bytes(),
        }
    }

    fn of_tpm(profile: Profile, evidence: countersign_platform::TpmEvidence) -> Self {
        let countersign_platform::TpmEvidence {
            ak_public,
            quote,
            quote_signature,
            pcrs,
            nv_public,
            certify,
            certify_signature,
            event_log,
        } = evidence;
        let evidence = TpmEvidence {
            profile,
            ak_public: Bytes(ak_public),
            quote: Bytes(quote),
            quote_signature: Bytes(quote_signature),
            pcrs: pcrs
                .into_iter()
                .map(|(index, value)| PcrValue { index, value })
                .collect(),
            nv_public: Bytes(nv_public),
            certify: Bytes(certify),
            certify_signature: Bytes(certify_signature),
            event_log: event_log.map(Bytes),
        };
        Self {
            kind: TPM_EVIDENCE_KIND,
            bytes: evidence.to_bytes(),
        }
    }
}

/// The profile as the record names it.
#[must_use]
pub fn named(profile: countersign_platform::Profile) -> Profile {
    use countersign_platform::Profile as Found;
    match profile {
        Found::Tpm => Profile::Tpm,
        Found::Swtpm => Profile::Swtpm,
        Found::Snp => Profile::Snp,
        Found::Tdx => Profile::Tdx,
        Found::AzureSnp => Profile::AzureSnp,
        Found::AzureTdx => Profile::AzureTdx,
        Found::GcpSnp => Profile::GcpSnp,
        Found::GcpTdx => Profile::GcpTdx,
    }
}

/// The container of a profile: what the platform gave, and what vendors say of it. What came with the report counts before
/// what the site keeps, which may be of another machine.
fn container(
    profile: Profile,
    found: PlatformReport,
    mut collateral: Collateral,
) -> anyhow::Result<PlatformEvidence> {
    let PlatformReport {
        report,
        paravisor,
        key,
        key_certificate,
        host_table,
    } = found;
    if let Err(error) = collateral.take_host_table(&host_table) {
        tracing_line(&format!("the host's certificates are left aside: {error}"));
    }
    if let Some(certificate) = key_certificate {
        collateral.put_key_certificate(certificate);
    }
    Ok(PlatformEvidence {
        profile,
        report: report.map(|report| Bytes(unpadded(report))),
        paravisor: paravisor.map(Bytes),
        key: key.map(|word| {
            let PlatformWord {
                public,
                certify,
                certify_signature,
            } = word;
            PlatformKey {
                public: Bytes(public),
                certify: Bytes(certify),
                certify_signature: Bytes(certify_signature),
            }
        }),
        endorsements: collateral.of(profile)?,
    })
}

/// A quote without the zeros that hosts leave behind it; anything else stays, and is refused by whoever judges it.
fn unpadded(report: Vec<u8>) -> Vec<u8> {
    match without_padding(&report) {
        Ok(quote) => quote.to_vec(),
        // An SEV-SNP report, or something that is nothing.
        Err(_) => report,
    }
}

/// Looks at evidence as `countersign-verify evidence` does, without anybody's rules. What a quote of the host's service has to
/// repeat decides here: one of another machine is refused. What vendors' signatures say is told: whom to believe in their
/// place an auditor's trust file can say, and this program has none.
fn doubts(evidence: &PlatformEvidence, now: UnixMillis) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut give = |path: String, bytes: &[u8]| {
        files.push(Given {
            path,
            bytes: bytes.to_vec(),
        });
    };
    if let Some(report) = &evidence.report {
        give("report".to_owned(), &report.0);
    }
    if let Some(paravisor) = &evidence.paravisor {
        give("paravisor".to_owned(), &paravisor.0);
    }
    for endorsement in &evidence.endorsements {
        if is_of_processor(endorsement.kind) {
            give(endorsement.kind.to_string(), &endorsement.bytes.0);
        }
    }
    let asked = Asked {
        trust: None,
        reference: None,
        report_data: None,
        nonce: None,
        now,
    };
    let bare = judge(&files, &asked).context("the platform's evidence cannot be read")?;
    let lines = bare.parts.iter().flat_map(|part| &part.checks);
    let failed = lines.filter(|line| line.outcome == "fail" && !line.rule);
    let (ours, vendors): (Vec<_>, Vec<_>) =
        failed.partition(|line| line.code.starts_with("azure."));
    let said = |line: &Line| format!("{}: {}", line.code, line.reason);
    if !ours.is_empty() {
        let said: Vec<String> = ours.into_iter().map(said).collect();
        bail!(
            "what the platform reports does not fit together: {}; restart the machine, and ask the provider",
            said.join("; ")
        );
    }
    let told = vendors
        .into_iter()
        .map(|line| format!("an auditor will find {}", said(line)));
    let lost = evidence
        .paravisor
        .as_ref()
        .filter(|report| matches!(tpm_persisted(&report.0), Ok(Some(false))))
        .map(|_| LOST.to_owned());
    Ok(told.chain(lost).collect())
}

/// What an operator is told of a TPM whose state does not outlive the machine.
const LOST: &str = "the TPM's state is lost with the machine's next start (tpm-persisted: false), and with it keys and \
                    counter: make the machine anew with securityEncryptionType VMGuestStateOnly or DiskWithVMGuestState";

/// Whether a kind belongs to a processor's report. What vouches for a TPM's key is judged with a quote of that key, which is
/// not made yet; and Intel's two chains are one.
pub(crate) fn is_of_processor(kind: EndorsementKind) -> bool {
    match kind {
        EndorsementKind::AmdVek
        | EndorsementKind::AmdIssuer
        | EndorsementKind::AmdRoot
        | EndorsementKind::AmdCrl
        | EndorsementKind::IntelTcbInfo
        | EndorsementKind::IntelTcbInfoChain
        | EndorsementKind::IntelQeIdentity
        | EndorsementKind::IntelPckCrl
        | EndorsementKind::IntelRootCrl => true,
        EndorsementKind::IntelQeIdentityChain
        | EndorsementKind::KeyCertificate
        | EndorsementKind::GoogleLaunch => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_devices::azure::{Claims, Report as Hcl, TdReport, report_data};
    use countersign_devices::key::{Key, Rsa};
    use countersign_devices::snp::{Draft, Kind, Product};
    use countersign_devices::tdx::Quote;
    use countersign_record::cbor::Bytes;

    /// A time at which fakes are valid.
    const NOW: UnixMillis = UnixMillis(1_770_000_000_000);

    /// What a trust domain below a paravisor shows, and its quote.
    fn azure_tdx() -> PlatformEvidence {
        azure_tdx_with(|_| {})
    }

    fn azure_tdx_with(change: impl FnOnce(&mut Claims)) -> PlatformEvidence {
        let key = Key::rsa(Rsa::Tpm);
        let mut claims = Claims::new(&key, &Key::rsa(Rsa::Endorsement));
        change(&mut claims);
        let claims = claims.to_json();
        let mut quote = Quote::default();
        quote.td.report_data = report_data(&claims);
        let body = quote.td.to_bytes(2);
        let mut report = TdReport::new(quote.td.report_data);
        report.tcb_info[8..128].copy_from_slice(&body[..120]);
        report.tcb_info[128..].fill(0);
        report.td_info[..400].copy_from_slice(&body[120..520]);
        report.td_info[400..].fill(0);
        PlatformEvidence {
            profile: Profile::AzureTdx,
            report: Some(Bytes(quote.to_bytes())),
            paravisor: Some(Bytes(Hcl::around(report.to_bytes(), 4, &claims).to_bytes())),
            key: None,
            endorsements: Vec::new(),
        }
    }

    #[test]
    fn a_quote_of_another_trust_domain_than_the_paravisors_is_refused() {
        let mut evidence = azure_tdx();
        doubts(&evidence, NOW).unwrap();
        let quote = evidence.report.as_mut().unwrap();
        // A bit of the measurement.
        quote.0[48 + 136] ^= 1;
        let refused = doubts(&evidence, NOW).unwrap_err().to_string();
        assert!(refused.contains("azure.tdreport.quote"), "{refused}");
        evidence.report = Some(Bytes(vec![4, 0, 0x81]));
        assert!(doubts(&evidence, NOW).is_err());
        evidence.report = None;
        assert!(doubts(&evidence, NOW).is_err());
    }

    #[test]
    fn claims_that_the_hardware_does_not_name_are_refused() {
        let mut evidence = azure_tdx();
        let paravisor = &mut evidence.paravisor.as_mut().unwrap().0;
        let at = paravisor
            .windows(9)
            .position(|w| w == b"vmUniqueI")
            .unwrap();
        paravisor[at + 14] ^= 1;
        let refused = doubts(&evidence, NOW).unwrap_err().to_string();
        assert!(refused.contains("azure.runtime.binding"), "{refused}");
    }

    #[test]
    fn a_tpm_whose_state_does_not_last_is_told_at_the_start() {
        let told = |value| {
            let evidence = azure_tdx_with(|claims| claims.configure("tpm-persisted", value));
            let told = doubts(&evidence, NOW).unwrap();
            told.iter().any(|line| line.contains("VMGuestStateOnly"))
        };
        assert!(told(Some("false")));
        assert!(!told(Some("true")));
        assert!(!told(None));
    }

    #[test]
    fn what_vendors_signatures_say_is_told_and_the_auditor_decides() {
        let made = Draft::new(Product::Genoa, Kind::Vcek).build();
        let mut collateral = Collateral::default();
        let table = Vec::new();
        let found = PlatformReport {
            report: Some(made.report),
            paravisor: None,
            key: None,
            key_certificate: None,
            host_table: table,
        };
        let missing = container(Profile::Snp, found.clone(), collateral.clone());
        assert!(missing.unwrap_err().to_string().contains("amd-vek"));
        let certificates = [made.key, made.issuer, made.root];
        let pieces = certificates.map(countersign_verify::bare::Piece::Certificate);
        let kept = Collateral::sorted(pieces).unwrap();
        let site = tempfile::tempdir().unwrap();
        Collateral::keep(site.path(), &kept).unwrap();
        collateral.clone_from(&Collateral::read(site.path()).unwrap());
        let evidence = container(Profile::Snp, found, collateral).unwrap();
        let told = doubts(&evidence, NOW).unwrap().join("; ");
        assert!(told.contains("snp.root.pinned"), "{told}");
        assert!(!told.contains("snp.report.signature"), "{told}");
    }

    #[test]
    fn zeros_that_a_host_leaves_behind_a_quote_are_no_part_of_it() {
        let quote = Quote::default().to_bytes();
        let padded = [quote.clone(), vec![0; 100]].concat();
        assert_eq!(unpadded(padded), quote);
        let other = [quote, vec![1]].concat();
        assert_eq!(unpadded(other.clone()), other);
        let report = Draft::new(Product::Milan, Kind::Vcek).build().report;
        assert_eq!(unpadded(report.clone()), report);
    }
}
