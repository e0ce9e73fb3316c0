//! Which appraisals a set of pieces calls for, and what comes of them.

use super::pieces::{Piece, PieceError, armour, pieces};
use super::report::{BARE_VERSION, Bare, Part, Said, verdict};
use super::says::{of_claims, of_log, of_snp, of_tdx};
use crate::report::{Source, Verdict};
use crate::trust::platform::{Pinned, SnpRule, TdxRule};
use crate::trust::{Reference, Trust};
use countersign_certificates::{Certificate, Crl};
use countersign_evidence::azure::{
    AzureCheck, AzureEvidence, AzurePolicy, HardwareReport, ParavisorReport, appraise_paravisor,
};
use countersign_evidence::party::Party;
use countersign_evidence::snp::{
    self, SnpCertificates, SnpCertificatesError, SnpCheck, SnpEvidence, appraise_snp,
};
use countersign_evidence::tdx::{
    self, Collateral, CollateralError, TdxCheck, TdxEvidence, appraise_tdx,
};
use countersign_evidence::tpm::{
    ExpectedKey, KeySignature, PcrSet, PresentedKey, QuoteCheck, QuoteEvidence, QuotePolicy,
    Selection, VouchedKey, appraise_quote,
};
use countersign_evidence::{Chains, Moment};
use countersign_record::binding::Profile;
use countersign_record::digest::{UnixMillis, sha256};
use thiserror::Error;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its path, as given.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What evidence is compared with.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The auditor's trust file, with its path.
    pub trust: Option<(String, Trust)>,
    /// Reference values; those of the trust file if there are no others.
    pub reference: Option<Reference>,
    /// All 64 bytes that a processor's report has to be over.
    pub report_data: Option<[u8; 64]>,
    /// What a TPM's quote has to be over.
    pub nonce: Option<Vec<u8>>,
    /// The time.
    pub now: UnixMillis,
}

/// Why there is nothing to appraise.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BareError {
    /// A file that is none of what is known.
    #[error("{path}: {error}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        error: PieceError,
    },
    /// Nothing among the files is evidence.
    #[error("none of the files is evidence: give a report, a quote or an event log")]
    Nothing,
    /// Two of what there has to be one of.
    #[error("there are {found} of {what}, expected one")]
    NotOne {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
    },
    /// Something that evidence needs is not among the files.
    #[error("{what} is missing: {hint}")]
    Missing {
        /// What.
        what: &'static str,
        /// Where it comes from.
        hint: &'static str,
    },
    /// Certificates that are no chain.
    #[error("{0}")]
    Certificates(#[from] SnpCertificatesError),
    /// Collateral that is none.
    #[error("{0}")]
    Collateral(#[from] CollateralError),
}

/// Judges files.
///
/// # Errors
/// If there is nothing to appraise, or something that an appraisal needs is not there.
pub fn judge(files: &[Given], asked: &Asked) -> Result<Bare, BareError> {
    let mut heap = Heap::default();
    let mut said = Vec::new();
    for Given { path, bytes } in files {
        let found = pieces(bytes).map_err(|error| BareError::File {
            path: path.clone(),
            error,
        })?;
        let what: Vec<&str> = found.iter().map(Piece::what).collect();
        said.push(Said::new(path.clone(), what.join(", ")));
        heap.0.extend(found);
    }
    let mut case = Case {
        heap: &heap,
        asked,
        chains: Chains::new(),
        parts: Vec::new(),
        parties: Vec::new(),
        lacks: Vec::new(),
    };
    case.run()?;
    case.accepted_parties();
    let Case {
        parts,
        parties,
        lacks,
        ..
    } = case;
    let complete = lacks.is_empty();
    let verdict = verdict(&parts, complete);
    Ok(Bare {
        evidence: BARE_VERSION,
        verifier: env!("CARGO_PKG_VERSION"),
        verdict,
        exit_code: verdict.exit_code(),
        headline: headline(verdict, asked),
        now: asked.now.0,
        trust: asked.trust.as_ref().map(|(path, trust)| Source {
            path: path.clone(),
            sha256: Some(hex::encode(sha256(&trust.source))),
        }),
        files: said,
        not_checked: not_checked(lacks),
        parts,
        parties: parties.iter().map(Party::to_string).collect(),
    })
}

fn headline(verdict: Verdict, asked: &Asked) -> String {
    let end = match (verdict, &asked.trust) {
        (Verdict::Verified, _) => {
            " — a bare piece of evidence, over what you named; of which gateway or log it does not say"
        }
        (Verdict::CannotBeEvaluated, None) => {
            " — nothing is wrong as far as was looked; there is no trust file, so nobody said what is accepted"
        }
        (Verdict::CannotBeEvaluated | Verdict::AgainstPolicy | Verdict::Untrusted, _) => "",
    };
    format!("{}{end}", verdict.words())
}

/// What stands in the way of a verdict, and what no piece of evidence says.
fn not_checked(lacks: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for lack in lacks {
        if !out.contains(&lack) {
            out.push(lack);
        }
    }
    out.push("whose gateway it is, and anything about a log".to_owned());
    out
}

/// All pieces, of all files.
#[derive(Debug, Default)]
struct Heap(Vec<Piece>);

impl Heap {
    /// The one for which there is something, if there is one.
    fn one<'a, T>(
        &'a self,
        what: &'static str,
        pick: impl Fn(&'a Piece) -> Option<T>,
    ) -> Result<Option<T>, BareError> {
        let mut found: Vec<T> = self.0.iter().filter_map(pick).collect();
        match found.len() {
            0 | 1 => Ok(found.pop()),
            count => Err(BareError::NotOne { what, found: count }),
        }
    }

    fn all<'a, T>(&'a self, pick: impl Fn(&'a Piece) -> Option<T>) -> Vec<T> {
        self.0.iter().filter_map(pick).collect()
    }
}

macro_rules! pick {
    ($variant:ident) => {
        |piece: &Piece| {
            if let Piece::$variant(it) = piece {
                Some(it.clone())
            } else {
                None
            }
        }
    };
}

/// A judgement under way.
struct Case<'a> {
    heap: &'a Heap,
    asked: &'a Asked,
    chains: Chains,
    parts: Vec<Part>,
    parties: Vec<Party>,
    /// What was not there, or was not looked at: with any of it there is no verdict.
    lacks: Vec<String>,
}

impl Case<'_> {
    fn run(&mut self) -> Result<(), BareError> {
        let paravisor = self.heap.one("a paravisor's report", pick!(Paravisor))?;
        let snp = self.heap.one("an SEV-SNP report", pick!(SnpReport))?;
        let tdx = self.heap.one("a TDX quote", pick!(TdxQuote))?;
        let quote = self.heap.one("a TPM quote", pick!(Quote))?;
        let log = self.heap.one("an event log", pick!(EventLog))?;
        let nothing = [&paravisor, &snp, &tdx, &quote, &log]
            .iter()
            .all(|p| p.is_none());
        if nothing {
            return Err(BareError::Nothing);
        }
        let mut key = None;
        if let Some(paravisor) = &paravisor {
            key = self.paravisor(paravisor, tdx.as_deref())?;
        } else {
            if let Some(report) = &snp {
                self.snp(report, self.asked.report_data, None)?;
            }
            if let Some(quote_of_tdx) = &tdx {
                let log = log.as_deref().filter(|_| quote.is_none());
                self.tdx(quote_of_tdx, self.asked.report_data, log)?;
            }
        }
        match &quote {
            Some(quote) => self.quote(quote, key.as_ref(), log.as_deref())?,
            None if tdx.is_none() => self.event_log(log.as_deref()),
            None => {}
        }
        self.unused(paravisor.is_some(), quote.is_some())
    }

    fn lack(&mut self, text: &str) {
        self.lacks.push(text.to_owned());
    }

    /// What was given, or asked for, and was part of no appraisal.
    fn unused(&mut self, paravisor: bool, quote: bool) -> Result<(), BareError> {
        let snp = self
            .heap
            .one("an SEV-SNP report", pick!(SnpReport))?
            .is_some();
        let tdx = self.heap.one("a TDX quote", pick!(TdxQuote))?.is_some();
        let log = self.heap.one("an event log", pick!(EventLog))?.is_some();
        let registers = self
            .heap
            .one("lists of registers", pick!(Registers))?
            .is_some();
        for (is, text) in [
            (
                self.asked.trust.is_none(),
                "rules of yours: no trust file was given",
            ),
            (
                self.asked.nonce.is_some() && !quote,
                "the nonce: there is no TPM quote that could be over it",
            ),
            (
                self.asked.report_data.is_some() && (paravisor || !(snp || tdx)),
                "the expected report data: below a paravisor it is the paravisor's own, and a TPM has none",
            ),
            (
                paravisor && !quote,
                "anything fresh: a paravisor's report is made at boot, and there is no TPM quote",
            ),
            (
                paravisor && snp,
                "the SEV-SNP report beside the paravisor's: it has its own inside",
            ),
            (
                paravisor && log && !quote,
                "the event log: there is no TPM quote that it could lead to",
            ),
            (
                registers && !quote,
                "the register values: nobody signed them",
            ),
        ] {
            if is {
                self.lack(text);
            }
        }
        Ok(())
    }

    /// Whether everybody on whom it rests is named in the trust file.
    fn accepted_parties(&mut self) {
        let Some(accepted) = self.trust().and_then(|t| t.parties.clone()) else {
            if !self.parties.is_empty() {
                self.lack("parties: your trust file does not say on whom evidence may rest");
            }
            return;
        };
        let line = |party: &Party| super::report::Line {
            code: format!("parties.{party}"),
            outcome: if accepted.contains(party) {
                "pass"
            } else {
                "fail"
            }
            .to_owned(),
            reason: "on whom it rests, and whether your trust file names it".to_owned(),
            rule: true,
        };
        let checks = self.parties.iter().map(line).collect();
        self.parts.push(Part {
            title: "Parties",
            checks,
            says: Vec::new(),
        });
    }

    fn trust(&self) -> Option<&Trust> {
        self.asked.trust.as_ref().map(|(_, trust)| trust)
    }

    fn reference(&self) -> Option<&Reference> {
        let own = self.asked.reference.as_ref();
        own.or_else(|| self.trust().map(|trust| &trust.reference))
    }

    fn at(&self) -> Moment {
        Moment(self.asked.now.0)
    }

    fn rests_on(&mut self, parties: &[Party]) {
        for party in parties {
            if !self.parties.contains(party) {
                self.parties.push(party.clone());
            }
        }
    }
}

/// Processors.
impl Case<'_> {
    /// A report of AMD's, over these bytes.
    fn snp(
        &mut self,
        report: &[u8],
        data: Option<[u8; 64]>,
        vmpl: Option<snp::Vmpl>,
    ) -> Result<(), BareError> {
        let mut ders = self.heap.all(pick!(Certificate));
        // What is given comes first; a name that two have is no one's.
        if SnpCertificates::of(&ders).is_err() {
            ders.extend(snp::VENDOR_CERTIFICATES.map(<[u8]>::to_vec));
        }
        let mut chain = SnpCertificates::of(&ders)?;
        chain.crl = self.heap.one("a revocation list", pick!(Crl))?;
        let evidence: SnpEvidence<'_> = chain.beside(report);
        let rule: Option<&SnpRule> = self.trust().and_then(|t| t.snp.as_ref());
        let mut policy = rule.map_or_else(snp::Policy::open, |r| r.policy.clone());
        policy.report_data = data.map(snp::ReportData);
        let below_paravisor = vmpl.is_some();
        policy.vmpl = vmpl.unwrap_or(policy.vmpl);
        // A report that the guest asked for itself can be of either.
        let profiles: &[Profile] = if below_paravisor {
            &[Profile::AzureSnp]
        } else {
            &[Profile::Snp, Profile::GcpSnp]
        };
        let launch = self.reference().and_then(|r| r.launch.as_ref());
        let launch = launch.and_then(|values| values.of_any(profiles));
        policy.measurements = launch.map(|l| l.into_iter().map(snp::LaunchMeasurement).collect());
        let roots = match rule.map(|r| &r.roots) {
            Some(Pinned::TrustFile(roots)) => roots.clone(),
            Some(Pinned::Vendor) | None => snp::Roots::amd(),
        };
        let ruled = rule.is_some() && policy.measurements.is_some();
        let at = self.at();
        let appraisal = appraise_snp(&evidence, &policy, &roots, at, &mut self.chains);
        if !ruled {
            self.lack("rules or launch values for SEV-SNP: [snp] and launch of the trust file");
        }
        if appraisal.verified().is_none() {
            self.lack("all that an SEV-SNP report needs: see the lines above");
        }
        self.rests_on(appraisal.rests_on());
        let says = appraisal.claimed().map(of_snp).unwrap_or_default();
        self.parts.push(Part::of(
            "SEV-SNP report",
            appraisal.checks(),
            SnpCheck::is_rule,
            says,
        ));
        Ok(())
    }

    /// A quote of Intel's, over these bytes.
    fn tdx(
        &mut self,
        quote: &[u8],
        data: Option<[u8; 64]>,
        log: Option<&[u8]>,
    ) -> Result<(), BareError> {
        let collateral = self.collateral()?;
        let evidence = TdxEvidence {
            // Hosts hand out a buffer with zeros after the quote; anything else after it stays, and is refused.
            quote: tdx::without_padding(quote).unwrap_or(quote),
            collateral: collateral.as_ref(),
            event_log: log,
        };
        let rule: Option<&TdxRule> = self.trust().and_then(|t| t.tdx.as_ref());
        let mut policy = rule.map_or_else(tdx::Policy::open, |r| r.policy.clone());
        policy.report_data = data.map(tdx::ReportData);
        let paravisor = self.heap.one("a paravisor's report", pick!(Paravisor))?;
        let below_paravisor = paravisor.is_some();
        if below_paravisor {
            policy.sept_ve = tdx::SeptVe::AzureParavisor;
        }
        let measurements = |l: &Vec<[u8; 48]>| l.iter().copied().map(tdx::Measurement).collect();
        let reference = self.reference();
        let profiles: &[Profile] = if below_paravisor {
            &[Profile::AzureTdx]
        } else {
            &[Profile::Tdx, Profile::GcpTdx]
        };
        let launch = reference.and_then(|r| r.launch.as_ref());
        let launch = launch.and_then(|values| values.of_any(profiles));
        policy.mrtd = launch.as_ref().map(measurements);
        for (register, slot) in (0_u8..).zip(policy.rtmrs.iter_mut()) {
            let known = reference.and_then(|r| r.rtmrs.as_ref());
            *slot = known.and_then(|r| r.get(&register)).map(measurements);
        }
        let roots = match rule.map(|r| &r.roots) {
            Some(Pinned::TrustFile(roots)) => roots.clone(),
            Some(Pinned::Vendor) | None => tdx::Roots::intel(),
        };
        let registers = policy.rtmrs.iter().take(3).all(Option::is_some);
        let ruled = rule.is_some() && policy.mrtd.is_some() && registers;
        let at = self.at();
        let appraisal = appraise_tdx(&evidence, &policy, &roots, at, &mut self.chains);
        if !ruled {
            self.lack(
                "rules or launch values for TDX: [tdx], launch and rtmrs 0 to 2 of the trust file",
            );
        }
        if appraisal.verified().is_none() {
            self.lack("all that a TDX quote needs: see the lines above");
        }
        self.rests_on(&[Party::Intel]);
        let says = appraisal.claimed().map(of_tdx).unwrap_or_default();
        self.parts.push(Part::of(
            "TDX quote",
            appraisal.checks(),
            TdxCheck::is_rule,
            says,
        ));
        Ok(())
    }

    /// All of it in one file, or the answers of Intel's service one by one.
    fn collateral(&self) -> Result<Option<Collateral>, BareError> {
        if let Some(whole) = self.heap.one("collateral", pick!(Collateral))? {
            return Ok(Some(*whole));
        }
        let info = self.heap.one("TCB information", pick!(TcbInfo))?;
        let identity = self
            .heap
            .one("an identity of the quoting enclave", pick!(QeIdentity))?;
        let lists = self.heap.all(pick!(Crl));
        let (Some(info), Some(identity)) = (info, identity) else {
            return Ok(None);
        };
        let certificates = self.heap.all(pick!(Certificate));
        let chain: String = certificates.iter().map(|der| armour(der)).collect();
        let (root_crl, pck_crl) = told_apart(&lists, &certificates).ok_or(BareError::Missing {
            what: "the root's revocation list, or that of the platform's CA",
            hint: "both are answers of Intel's service",
        })?;
        Ok(Some(Collateral::from_pcs(tdx::PcsAnswers {
            tcb_info: &info,
            tcb_info_chain: chain.as_bytes(),
            qe_identity: &identity,
            qe_identity_chain: chain.as_bytes(),
            pck_crl,
            root_crl,
        })?))
    }

    /// What Azure's paravisor says, and the processor's report below it.
    fn paravisor(
        &mut self,
        report: &[u8],
        quote: Option<&[u8]>,
    ) -> Result<Option<VouchedKey>, BareError> {
        let parsed = ParavisorReport::parse(report).ok();
        let hardware = parsed.as_ref().map(ParavisorReport::hardware);
        let kind = hardware.map_or(countersign_evidence::azure::Hardware::Snp, |h| h.kind());
        let policy = match self.trust().and_then(|t| t.azure) {
            Some(rule) => rule.policy(kind),
            None => {
                self.lack("rules for Azure's paravisor: [azure] of the trust file");
                AzurePolicy::open(kind)
            }
        };
        let evidence = AzureEvidence {
            report,
            td_quote: quote,
        };
        let open = appraise_paravisor(&evidence, &AzurePolicy::open(kind));
        let key = open.verified().map(|v| v.attestation_key().clone());
        let appraisal = appraise_paravisor(&evidence, &policy);
        if appraisal.verified().is_none() {
            self.lack("all that a paravisor's report needs: see the lines above");
        }
        self.rests_on(&[Party::MicrosoftParavisor]);
        let says = appraisal
            .claimed_claims()
            .map(of_claims)
            .unwrap_or_default();
        let part = Part::of(
            "Paravisor report of Azure",
            appraisal.checks(),
            AzureCheck::is_rule,
            says,
        );
        self.parts.push(part);
        let data = hardware.and_then(|h| h.report_data().ok());
        match (hardware, quote) {
            (Some(HardwareReport::Snp(bytes)), _) => {
                // The paravisor has the highest privilege, whatever a trust file allows of guests.
                self.snp(bytes, data, Some(snp::Vmpl(0)))?;
            }
            (_, Some(quote)) => self.tdx(quote, data, None)?,
            (Some(HardwareReport::Tdx(_)) | None, None) => {
                self.lack("the processor's own report below the paravisor's");
            }
        }
        Ok(key)
    }
}

/// TPMs.
impl Case<'_> {
    fn quote(
        &mut self,
        quote: &[u8],
        vouched: Option<&VouchedKey>,
        log: Option<&[u8]>,
    ) -> Result<(), BareError> {
        let missing = |what, hint| BareError::Missing { what, hint };
        let registers = self.heap.one("lists of registers", pick!(Registers))?;
        let registers = registers.ok_or_else(|| {
            missing(
                "the values of the registers",
                "a json with a list pcrs, as evidence collectors write it",
            )
        })?;
        let tpmt = self.heap.one("TPM signatures", pick!(Signature))?;
        let raw = self.heap.one("RSA signatures", pick!(RawSignature))?;
        let signature = match (&tpmt, &raw) {
            (Some(bytes), _) => KeySignature::Tpmt(bytes),
            (None, Some(bytes)) => KeySignature::RsaRaw(bytes),
            (None, None) => {
                return Err(missing(
                    "the quote's signature",
                    "TPMT_SIGNATURE, or the number alone",
                ));
            }
        };
        let public = self.heap.one("public areas", pick!(TpmPublic))?;
        let spki = self.heap.one("public keys", pick!(Spki))?;
        let key = match (&public, &spki, vouched) {
            (Some(bytes), _, _) => PresentedKey::Public(bytes),
            (None, Some(bytes), _) => PresentedKey::Spki(bytes),
            (None, None, Some(vouched)) => PresentedKey::Plain(vouched.key()),
            (None, None, None) => {
                return Err(missing(
                    "the attestation key",
                    "TPMT_PUBLIC, or a public key in pem",
                ));
            }
        };
        let wanted = registers
            .iter()
            .map(|(index, _)| *index)
            .filter(|i| !matches!(i, 16 | 23));
        let pcrs = PcrSet::new(wanted).map_err(|_| {
            missing(
                "a register that software cannot reset",
                "16 and 23 say nothing",
            )
        })?;
        let evidence = QuoteEvidence {
            key,
            quote,
            signature,
            pcrs: registers.clone(),
            event_log: log,
        };
        let policy = QuotePolicy {
            key: vouched.map_or(ExpectedKey::Nobody, ExpectedKey::Vouched),
            qualifying: self.asked.nonce.clone(),
            pcrs,
            selection: Selection::AtLeast,
            firmware_floor: None,
        };
        let appraisal = appraise_quote(&evidence, &policy);
        if appraisal.verified().is_none() {
            self.lack("all that a TPM quote needs: see the lines above");
        }
        let says = registers
            .iter()
            .map(|(index, value)| Said::new(format!("PCR {index}"), hex::encode(value)))
            .collect();
        self.parts.push(Part::of(
            "TPM quote",
            appraisal.checks(),
            |_: QuoteCheck| false,
            says,
        ));
        self.registers_known(&registers);
        Ok(())
    }

    /// Whether registers have values that the auditor knows.
    fn registers_known(&mut self, found: &[(u8, [u8; 32])]) {
        let known = self.reference().and_then(|r| r.pcrs.clone());
        let known = known.unwrap_or_default();
        // Software resets 16 and 23 at will, so their values say nothing.
        let told = found.iter().filter(|(index, _)| !matches!(index, 16 | 23));
        let mut checks = Vec::new();
        for (index, value) in told {
            let (outcome, reason) = match known.get(index) {
                None => ("not checked", "nobody named values for it".to_owned()),
                Some(values) if values.contains(value) => ("pass", "known".to_owned()),
                Some(_) => (
                    "fail",
                    format!("{} is none that you know", hex::encode(value)),
                ),
            };
            checks.push(super::report::Line {
                code: format!("reference.pcr.{index}"),
                outcome: outcome.to_owned(),
                reason,
                rule: true,
            });
        }
        for index in known.keys().filter(|i| !found.iter().any(|(f, _)| f == *i)) {
            checks.push(super::report::Line {
                code: format!("reference.pcr.{index}"),
                outcome: "fail".to_owned(),
                reason: "it is not among the registers".to_owned(),
                rule: true,
            });
        }
        if checks.iter().any(|line| line.outcome == "not checked") {
            self.lack("values of all registers that were quoted: pcrs of the trust file");
        }
        self.parts.push(Part {
            title: "Reference values",
            checks,
            says: Vec::new(),
        });
    }

    /// A log alone: what it leads to. Nobody signed it.
    fn event_log(&mut self, log: Option<&[u8]>) {
        let Some(bytes) = log else {
            return;
        };
        self.lack("who says that this was booted: nobody signed the log");
        self.parts.push(of_log(bytes));
    }
}

/// The root's list, and another's: by the name of the one certificate that names itself as its issuer.
fn told_apart<'a>(lists: &'a [Vec<u8>], certificates: &[Vec<u8>]) -> Option<(&'a [u8], &'a [u8])> {
    let parsed = certificates
        .iter()
        .filter_map(|der| Certificate::parse(der).ok());
    let root = parsed.into_iter().find(|c| c.subject() == c.issuer())?;
    let is_root = |der: &&Vec<u8>| Crl::parse(der).is_ok_and(|l| l.issuer() == root.subject());
    let of_root = lists.iter().find(is_root)?;
    let other = lists.iter().find(|der| !is_root(der))?;
    Some((of_root, other))
}
