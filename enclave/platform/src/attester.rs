//! What a platform attests, behind one trait, so that other platforms can stand beside the TPM.
//!
//! In: 32 bytes of qualifying data, for an opening 64 more. Out: opaque evidence over exactly them. What the evidence is
//! worth is derived by the verifier again; nothing here is a claim it relies on.
//!
//! Which profile a machine has follows from what it shows of itself ([`Profile::detect`]), and is told with the reason.
//! The profile decides what is asked for; it cannot make evidence out of what is not there.

use crate::error::PolicyError;
use crate::policy::ReleasePolicy;
use crate::processor::{Processor, ProcessorReport, ReportData, ReportError, Technology};
use crate::tpm::Tpm;
use crate::transport::TpmAddress;
use crate::vouching::{GoogleWord, PARAVISOR_KEY, PlatformWord};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The vendor string of libtpms, which swtpm wraps.
const LIBTPMS_VENDOR: &str = "SW   TPM";

/// A platform profile: which evidence there is, and which PCR set it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A TPM 2.0 that does not call itself software.
    Tpm,
    /// A software TPM: simulated, vouches for nothing.
    Swtpm,
    /// SEV-SNP by itself: no TPM that lasts.
    Snp,
    /// TDX by itself: no TPM that lasts.
    Tdx,
    /// SEV-SNP on Azure: a paravisor above the guest holds its TPM.
    AzureSnp,
    /// TDX on Azure: a paravisor above the guest holds its TPM.
    AzureTdx,
    /// SEV-SNP on Google Cloud: the hypervisor holds the guest's TPM.
    GcpSnp,
    /// TDX on Google Cloud: the hypervisor holds the guest's TPM.
    GcpTdx,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Tpm,
        Self::Swtpm,
        Self::Snp,
        Self::Tdx,
        Self::AzureSnp,
        Self::AzureTdx,
        Self::GcpSnp,
        Self::GcpTdx,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Tpm => "tpm",
            Self::Swtpm => "swtpm",
            Self::Snp => "snp",
            Self::Tdx => "tdx",
            Self::AzureSnp => "azure-snp",
            Self::AzureTdx => "azure-tdx",
            Self::GcpSnp => "gcp-snp",
            Self::GcpTdx => "gcp-tdx",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Not the name of a platform profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform: tpm, swtpm, snp, tdx, azure-snp, azure-tdx, gcp-snp or gcp-tdx")]
pub struct NoProfile(pub String);

impl FromStr for Profile {
    type Err = NoProfile;

    fn from_str(text: &str) -> Result<Self, NoProfile> {
        let found = Self::ALL.into_iter().find(|p| p.word() == text);
        found.ok_or_else(|| NoProfile(text.to_owned()))
    }
}

/// What a machine shows of itself without a TPM. Anybody who runs it can have it show something else: it chooses what
/// evidence is asked for, and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// Whose processor's device is there.
    pub technology: Option<Technology>,
    /// The firmware says that Google runs it.
    pub google: bool,
}

/// A profile, and why it is that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected {
    /// Which.
    pub profile: Profile,
    /// What was found, for a person.
    pub why: &'static str,
}

/// A configured profile claims more than what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("platform is {found}, configuration cannot make it {asked}")]
pub struct ProfileUpgrade {
    /// What was found.
    pub found: Profile,
    /// What was asked for.
    pub asked: Profile,
}

impl Profile {
    /// By address, vendor string, a paravisor's report, and what the machine shows. What is reached over TCP is software,
    /// whatever it says.
    pub(crate) fn detect(
        address: &TpmAddress,
        vendor: &str,
        paravisor: Option<&[u8]>,
        machine: Machine,
    ) -> Detected {
        let found = |profile, why| Detected { profile, why };
        match address {
            TpmAddress::Tcp { .. } => found(
                Self::Swtpm,
                "the TPM is reached over TCP, so it is software",
            ),
            TpmAddress::Device(_) if vendor == LIBTPMS_VENDOR => found(
                Self::Swtpm,
                "the TPM calls itself libtpms, so it is software",
            ),
            TpmAddress::Device(_) => match paravisor.and_then(of_paravisor) {
                Some(Technology::SevSnp) => found(
                    Self::AzureSnp,
                    "the TPM has a paravisor's report around one of SEV-SNP",
                ),
                Some(Technology::Tdx) => found(
                    Self::AzureTdx,
                    "the TPM has a paravisor's report around one of TDX",
                ),
                None => of_machine(machine),
            },
        }
    }

    /// The profile of a machine that has no TPM, if its processor reports.
    #[must_use]
    pub fn without_tpm(machine: Machine) -> Option<Detected> {
        machine.technology.map(|technology| match technology {
            Technology::SevSnp => Detected {
                profile: Self::Snp,
                why: "there is no TPM, and /dev/sev-guest is there",
            },
            Technology::Tdx => Detected {
                profile: Self::Tdx,
                why: "there is no TPM, and /dev/tdx_guest is there",
            },
        })
    }

    /// Applies a configured profile, which may claim less than was found, never more.
    ///
    /// # Errors
    /// When it claims more.
    pub fn restricted_to(self, asked: Self) -> Result<Self, ProfileUpgrade> {
        let less = match (self, asked) {
            // A TPM in a paravisor is none in a chip: without the processor's report it would look like one.
            (_, Self::Swtpm) => true,
            (found, asked) => found == asked,
        };
        if less {
            Ok(asked)
        } else {
            Err(ProfileUpgrade { found: self, asked })
        }
    }
}

/// A machine with a TPM that no paravisor keeps.
fn of_machine(machine: Machine) -> Detected {
    let found = |profile, why| Detected { profile, why };
    match (machine.google, machine.technology) {
        (true, Some(Technology::SevSnp)) => found(
            Profile::GcpSnp,
            "the firmware names Google Compute Engine, and /dev/sev-guest is there",
        ),
        (true, Some(Technology::Tdx)) => found(
            Profile::GcpTdx,
            "the firmware names Google Compute Engine, and /dev/tdx_guest is there",
        ),
        (false, Some(_)) => found(
            Profile::Tpm,
            "there is a TPM; the processor could report too, but nothing that is known here ties the one to the other",
        ),
        (_, None) => found(
            Profile::Tpm,
            "there is a TPM that does not call itself software, and no processor that reports",
        ),
    }
}

/// Which hardware stands below a paravisor, as its report says. Source: `docs/spec/azure.md`.
fn of_paravisor(report: &[u8]) -> Option<Technology> {
    let kind = report.strip_prefix(b"HCLA")?.get(PARAVISOR_KIND_AT..)?;
    match kind.first_chunk()? {
        [2, 0, 0, 0] => Some(Technology::SevSnp),
        [4, 0, 0, 0] => Some(Technology::Tdx),
        _ => None,
    }
}

/// The report of a trust domain within a paravisor's: 1024 bytes after the header of 32.
fn td_report(paravisor: &[u8]) -> Option<&[u8]> {
    paravisor.get(32..)?.get(..1024)
}

/// Where a paravisor's report says of which kind it is, after its first four bytes: 28 bytes of header, 1184 of the
/// processor's report, two numbers.
const PARAVISOR_KIND_AT: usize = 28 + 1184 + 8;

/// Qualifying data of quotes and certifications, 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qualifying(pub [u8; 32]);

/// The attestation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationKey {
    /// Name: `000b` and the SHA-256 of the public area.
    pub name: [u8; 34],
    /// `TPMT_PUBLIC`.
    pub tpmt_public: Vec<u8>,
}

/// Evidence of a TPM: a quote and a certified counter, by one key over the same qualifying data
/// and with the same reset count. Every field holds the bytes that the TPM gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmEvidence {
    /// `TPMT_PUBLIC` of the attestation key.
    pub ak_public: Vec<u8>,
    /// `TPMS_ATTEST` of type quote.
    pub quote: Vec<u8>,
    /// `TPMT_SIGNATURE` over the quote.
    pub quote_signature: Vec<u8>,
    /// Index and value of each PCR quoted, ascending.
    pub pcrs: Vec<(u8, [u8; 32])>,
    /// `TPMS_NV_PUBLIC` of the counter.
    pub nv_public: Vec<u8>,
    /// `TPMS_ATTEST` of type NV.
    pub certify: Vec<u8>,
    /// `TPMT_SIGNATURE` over the certification.
    pub certify_signature: Vec<u8>,
    /// Measured-boot event log, where the platform shows one.
    pub event_log: Option<Vec<u8>>,
}

/// Evidence of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Of a hardware or software TPM.
    Tpm(TpmEvidence),
    /// Of a processor by itself.
    Processor(ProcessorReport),
}

/// What stands beside a TPM's evidence when an epoch opens: reports, as the platform gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformReport {
    /// Report or quote of the processor, where it does not stand in the paravisor's.
    pub report: Option<Vec<u8>>,
    /// Report of the paravisor.
    pub paravisor: Option<Vec<u8>>,
    /// What the platform's key says of the attestation key.
    pub key: Option<PlatformWord>,
    /// The certificate of that key, where the TPM keeps one.
    pub key_certificate: Option<Vec<u8>>,
    /// The host's table of certificates, where it gave one beside the processor's report.
    pub host_table: Vec<u8>,
}

/// A step of the epoch counter with evidence of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advanced {
    /// What the counter holds now.
    pub counter: u64,
    /// Evidence that certifies it.
    pub evidence: Evidence,
}

/// A platform did not attest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// The platform's TPM, or the release policy under which it acts.
    #[error(transparent)]
    Tpm(#[from] PolicyError),
    /// A profile's evidence has something that this machine does not give.
    #[error("platform {profile} needs {what}, which is not there: {hint}")]
    Missing {
        /// The platform.
        profile: Profile,
        /// What.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// The processor.
    #[error("the processor does not report: {0}")]
    Processor(#[from] ReportError),
    /// The host's service that makes quotes.
    #[error("the host makes no quote: {0}")]
    NoQuote(#[from] NoQuote),
    /// The platform has no counter that could be certified.
    #[error("platform {profile} has no certified counter")]
    NoCounter {
        /// The platform.
        profile: Profile,
    },
}

/// A platform that can be asked for evidence.
pub trait Attester: Send + Sync {
    /// Which platform this is.
    fn profile(&self) -> Profile;

    /// Evidence over qualifying data; moves nothing.
    ///
    /// # Errors
    /// When the platform refuses or cannot be reached.
    fn attest(&self, qualifying: Qualifying) -> Result<Evidence, AttestError>;

    /// What stands beside the TPM's evidence of an opening; nothing where the profile has nothing of the kind.
    /// A processor whose report the guest asks for itself reports over `data`; a key of the platform's signs over
    /// `qualifying`.
    ///
    /// # Errors
    /// When the platform refuses, or does not have what its profile needs.
    fn platform(
        &self,
        data: ReportData,
        qualifying: Qualifying,
    ) -> Result<Option<PlatformReport>, AttestError>;

    /// Advances the epoch counter and attests it.
    ///
    /// # Errors
    /// When the platform refuses, cannot be reached or has no counter.
    fn advance(&self, qualifying: Qualifying) -> Result<Advanced, AttestError>;

    /// What the epoch counter holds.
    ///
    /// # Errors
    /// When the platform refuses, cannot be reached or has no counter.
    fn counter(&self) -> Result<u64, AttestError>;
}

/// There is no quote of a trust domain; says why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoQuote(pub String);

/// Who makes a quote of a trust domain's report, where the guest cannot.
pub trait Quotes: Send + Sync {
    /// The quote of this report. Whoever gives it is nobody to believe.
    ///
    /// # Errors
    /// Why there is none.
    fn quote(&self, td_report: &[u8]) -> Result<Vec<u8>, NoQuote>;
}

/// What reports beside a TPM. Whatever is not there is missed by the profile that needs it.
#[derive(Clone, Default)]
pub struct Beside {
    /// The machine's processor.
    pub processor: Option<Arc<dyn Processor>>,
    /// Azure's service.
    pub quotes: Option<Arc<dyn Quotes>>,
}

/// A TPM attesting under a release policy, and what reports beside it.
#[derive(Clone)]
pub struct TpmAttester {
    tpm: Tpm,
    release: ReleasePolicy,
    profile: Profile,
    beside: Beside,
}

impl TpmAttester {
    /// Joins a TPM and the policy of the running release; the profile is the one detected,
    /// restricted to `profile` where somebody asks for one.
    ///
    /// # Errors
    /// When that claims more than was found.
    pub fn new(
        tpm: Tpm,
        release: ReleasePolicy,
        profile: Option<Profile>,
    ) -> Result<Self, ProfileUpgrade> {
        let found = tpm.identity().detected.profile;
        let profile = profile.map_or(Ok(found), |asked| found.restricted_to(asked))?;
        Ok(Self {
            tpm,
            release,
            profile,
            beside: Beside::default(),
        })
    }

    /// One of a machine that no test has.
    #[cfg(test)]
    pub(crate) fn of_another(tpm: Tpm, release: ReleasePolicy, profile: Profile) -> Self {
        Self {
            tpm,
            release,
            profile,
            beside: Beside::default(),
        }
    }

    /// The same, with what reports beside the TPM.
    #[must_use]
    pub fn beside(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    fn missing(&self, what: &'static str, hint: &'static str) -> AttestError {
        AttestError::Missing {
            profile: self.profile,
            what,
            hint,
        }
    }

    /// The paravisor's report, and its key's word.
    fn paravisor(&self, qualifying: Qualifying) -> Result<(Vec<u8>, PlatformWord), AttestError> {
        let tpm = |e| AttestError::Tpm(PolicyError::from(e));
        let report = self.tpm.paravisor_report().map_err(tpm)?;
        let key = self.tpm.platform_word(PARAVISOR_KEY, qualifying);
        let key = key.map_err(tpm)?;
        let report = report.ok_or_else(|| {
            let hint =
                "it stood in NV index 0x01400001 when the TPM was opened; restart the machine";
            self.missing("the paravisor's report", hint)
        })?;
        let key = key.ok_or_else(|| {
            let hint = "it should be at 0x81000003; restart the machine, which makes it anew";
            self.missing("the paravisor's attestation key", hint)
        })?;
        Ok((report, key))
    }

    /// The quote of the trust domain below a paravisor.
    fn host_quote(&self, paravisor: &[u8]) -> Result<Vec<u8>, AttestError> {
        let report = td_report(paravisor).ok_or_else(|| {
            let hint = "it ends before it; restart the machine";
            self.missing("the report of the trust domain in the paravisor's", hint)
        })?;
        let quotes = self.beside.quotes.as_ref().ok_or_else(|| {
            let hint = "the host's service makes it, and nothing here asks that service";
            self.missing("a quote of the trust domain", hint)
        })?;
        Ok(quotes.quote(report)?)
    }

    /// The processor's own report, and the word of Google's key.
    fn google(
        &self,
        technology: Technology,
        data: ReportData,
        qualifying: Qualifying,
    ) -> Result<PlatformReport, AttestError> {
        let processor = self.beside.processor.as_ref();
        let processor = processor.filter(|p| p.technology() == technology);
        let processor = processor.ok_or_else(|| {
            let hint = match technology {
                Technology::SevSnp => "/dev/sev-guest is gone; load the module sev-guest",
                Technology::Tdx => "/dev/tdx_guest is gone; load the module tdx-guest",
            };
            self.missing("a report of the processor", hint)
        })?;
        let report = processor.report(data)?;
        let word = self.tpm.google_word(qualifying);
        let word = word.map_err(|e| AttestError::Tpm(PolicyError::from(e)))?;
        let GoogleWord { word, certificate } = word.ok_or_else(|| {
            let hint = "they should be in NV indices 0x01c10000 to 0x01c10003; make the machine with a virtual TPM \
                        (Shielded VM), of an image of Google's newer than 2023";
            self.missing("Google's attestation key and its certificate", hint)
        })?;
        Ok(PlatformReport {
            report: Some(report.bytes),
            paravisor: None,
            key: Some(word),
            key_certificate: Some(certificate),
            host_table: report.host_table,
        })
    }
}

impl Attester for TpmAttester {
    fn profile(&self) -> Profile {
        self.profile
    }

    fn attest(&self, qualifying: Qualifying) -> Result<Evidence, AttestError> {
        Ok(Evidence::Tpm(self.tpm.evidence(&self.release, qualifying)?))
    }

    fn platform(
        &self,
        data: ReportData,
        qualifying: Qualifying,
    ) -> Result<Option<PlatformReport>, AttestError> {
        let (report, (paravisor, key)) = match self.profile {
            Profile::Tpm | Profile::Swtpm => return Ok(None),
            Profile::Snp | Profile::Tdx => {
                let hint = "this attester has a TPM, which such a profile does not";
                return Err(self.missing("a processor by itself", hint));
            }
            Profile::AzureSnp => (None, self.paravisor(qualifying)?),
            Profile::AzureTdx => {
                let (paravisor, key) = self.paravisor(qualifying)?;
                (Some(self.host_quote(&paravisor)?), (paravisor, key))
            }
            Profile::GcpSnp => {
                return self.google(Technology::SevSnp, data, qualifying).map(Some);
            }
            Profile::GcpTdx => return self.google(Technology::Tdx, data, qualifying).map(Some),
        };
        Ok(Some(PlatformReport {
            report,
            paravisor: Some(paravisor),
            key: Some(key),
            key_certificate: None,
            host_table: Vec::new(),
        }))
    }

    fn advance(&self, qualifying: Qualifying) -> Result<Advanced, AttestError> {
        let (counter, evidence) = self.tpm.advance(&self.release, qualifying)?;
        Ok(Advanced {
            counter,
            evidence: Evidence::Tpm(evidence),
        })
    }

    fn counter(&self) -> Result<u64, AttestError> {
        Ok(self.tpm.counter(&self.release)?)
    }
}

/// A processor attesting by itself, on a machine without a TPM. It counts nothing.
#[derive(Clone)]
pub struct ProcessorAttester {
    processor: Arc<dyn Processor>,
    profile: Profile,
}

impl ProcessorAttester {
    /// The profile is the processor's; whoever asks for one has to ask for it.
    ///
    /// # Errors
    /// When somebody asks for another.
    pub fn new(
        processor: Arc<dyn Processor>,
        profile: Option<Profile>,
    ) -> Result<Self, ProfileUpgrade> {
        let found = match processor.technology() {
            Technology::SevSnp => Profile::Snp,
            Technology::Tdx => Profile::Tdx,
        };
        match profile {
            // Without a TPM there is nothing that could be shown under another name, not even a software TPM.
            Some(asked) if asked != found => Err(ProfileUpgrade { found, asked }),
            Some(_) | None => Ok(Self {
                processor,
                profile: found,
            }),
        }
    }
}

impl Attester for ProcessorAttester {
    fn profile(&self) -> Profile {
        self.profile
    }

    fn attest(&self, Qualifying(qualifying): Qualifying) -> Result<Evidence, AttestError> {
        // Source: docs/spec/evidence.md, "Four uses, four domains": the qualifying data, and 32 zeros after it.
        let mut data = [0; 64];
        for (to, from) in data.iter_mut().zip(qualifying) {
            *to = from;
        }
        Ok(Evidence::Processor(
            self.processor.report(ReportData(data))?,
        ))
    }

    fn platform(
        &self,
        data: ReportData,
        _: Qualifying,
    ) -> Result<Option<PlatformReport>, AttestError> {
        Ok(Some(self.processor.report(data)?.into()))
    }

    fn advance(&self, _: Qualifying) -> Result<Advanced, AttestError> {
        Err(AttestError::NoCounter {
            profile: self.profile,
        })
    }

    fn counter(&self) -> Result<u64, AttestError> {
        Err(AttestError::NoCounter {
            profile: self.profile,
        })
    }
}

impl From<ProcessorReport> for PlatformReport {
    fn from(report: ProcessorReport) -> Self {
        let ProcessorReport {
            technology: _,
            bytes,
            host_table,
        } = report;
        Self {
            report: Some(bytes),
            paravisor: None,
            key: None,
            key_certificate: None,
            host_table,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports the bytes that it was asked for, and nothing else.
    struct Chip(Technology);

    impl Processor for Chip {
        fn technology(&self) -> Technology {
            self.0
        }

        fn report(&self, ReportData(data): ReportData) -> Result<ProcessorReport, ReportError> {
            Ok(ProcessorReport {
                technology: self.0,
                bytes: data.to_vec(),
                host_table: b"a table".to_vec(),
            })
        }
    }

    #[test]
    fn a_processor_by_itself_reports_over_the_anchor_and_later_over_what_a_tpm_would_sign() {
        for (technology, profile) in [
            (Technology::SevSnp, Profile::Snp),
            (Technology::Tdx, Profile::Tdx),
        ] {
            let alone = ProcessorAttester::new(Arc::new(Chip(technology)), None).unwrap();
            assert_eq!(alone.profile(), profile);
            let opening = alone.platform(ReportData([7; 64]), Qualifying([9; 32]));
            let opening = opening.unwrap().unwrap();
            assert_eq!(opening.report.as_deref(), Some(&[7; 64][..]));
            assert_eq!(opening.host_table, b"a table");
            assert_eq!((opening.paravisor, opening.key), (None, None));
            let Ok(Evidence::Processor(later)) = alone.attest(Qualifying([9; 32])) else {
                panic!("it is no report of the processor");
            };
            assert_eq!(later.bytes, [[9; 32], [0; 32]].concat());
        }
    }

    #[test]
    fn a_processor_by_itself_counts_nothing_and_is_nothing_else() {
        let chip = || Arc::new(Chip(Technology::SevSnp));
        let alone = ProcessorAttester::new(chip(), Some(Profile::Snp)).unwrap();
        let profile = Profile::Snp;
        assert_eq!(alone.counter(), Err(AttestError::NoCounter { profile }));
        let advanced = alone.advance(Qualifying([0; 32]));
        assert_eq!(advanced, Err(AttestError::NoCounter { profile }));
        for asked in Profile::ALL.into_iter().filter(|p| *p != Profile::Snp) {
            let found = Profile::Snp;
            let other = ProcessorAttester::new(chip(), Some(asked)).map(|_| ());
            assert_eq!(other, Err(ProfileUpgrade { found, asked }));
        }
    }

    const BARE: Machine = Machine {
        technology: None,
        google: false,
    };

    fn machine(technology: Technology, google: bool) -> Machine {
        Machine {
            technology: Some(technology),
            google,
        }
    }

    fn found(vendor: &str, paravisor: Option<&[u8]>, machine: Machine) -> Profile {
        Profile::detect(&TpmAddress::default(), vendor, paravisor, machine).profile
    }

    #[test]
    fn a_device_that_calls_itself_libtpms_is_software() {
        for machine in [BARE, machine(Technology::SevSnp, true)] {
            let found = found("SW   TPM", Some(&report(2)), machine);
            assert_eq!(found, Profile::Swtpm);
        }
    }

    #[test]
    fn a_tcp_address_is_software_whatever_it_says() {
        let address = TpmAddress::Tcp {
            host: "127.0.0.1".into(),
            port: 1,
        };
        let google = machine(Technology::SevSnp, true);
        let found = Profile::detect(&address, "SLB9670", Some(&report(2)), google);
        assert_eq!(found.profile, Profile::Swtpm);
        assert!(found.why.contains("TCP"));
    }

    #[test]
    fn a_device_of_a_vendor_is_a_tpm() {
        assert_eq!(found("SLB9670", None, BARE), Profile::Tpm);
        // What else is there does not make it more: nothing ties one to the other.
        for technology in [Technology::SevSnp, Technology::Tdx] {
            let beside = machine(technology, false);
            assert_eq!(found("SLB9670", None, beside), Profile::Tpm);
        }
        let shielded = Machine {
            google: true,
            ..BARE
        };
        assert_eq!(found("GOOG", None, shielded), Profile::Tpm);
    }

    #[test]
    fn a_machine_of_googles_is_told_by_its_firmware_and_its_device() {
        let snp = machine(Technology::SevSnp, true);
        let tdx = machine(Technology::Tdx, true);
        assert_eq!(found("GOOG", None, snp), Profile::GcpSnp);
        assert_eq!(found("GOOG", None, tdx), Profile::GcpTdx);
        // A paravisor is Azure's, whatever the firmware says.
        assert_eq!(found("GOOG", Some(&report(2)), snp), Profile::AzureSnp);
    }

    #[test]
    fn a_machine_without_a_tpm_is_its_processor_or_nothing() {
        assert_eq!(Profile::without_tpm(BARE), None);
        for (technology, profile) in [
            (Technology::SevSnp, Profile::Snp),
            (Technology::Tdx, Profile::Tdx),
        ] {
            let found = Profile::without_tpm(machine(technology, false)).unwrap();
            assert_eq!(found.profile, profile);
            assert!(found.why.contains(technology.device()));
        }
    }

    /// As much of a paravisor's report as says of which kind it is.
    fn report(kind: u8) -> Vec<u8> {
        let mut report = vec![0; 1300];
        report[..4].copy_from_slice(b"HCLA");
        report[32 + 1184 + 8] = kind;
        report
    }

    #[test]
    fn a_paravisors_report_says_which_hardware_is_below() {
        let found = |report: &[u8]| found("MSFT xCG fTPM", Some(report), BARE);
        assert_eq!(found(&report(2)), Profile::AzureSnp);
        assert_eq!(found(&report(4)), Profile::AzureTdx);
        assert_eq!(found(&report(3)), Profile::Tpm);
        assert_eq!(found(&report(2)[..1226]), Profile::Tpm);
        assert_eq!(found(b"HCLB"), Profile::Tpm);
    }

    #[test]
    fn configuration_cannot_turn_software_into_hardware() {
        let upgrade = ProfileUpgrade {
            found: Profile::Swtpm,
            asked: Profile::Tpm,
        };
        assert_eq!(Profile::Swtpm.restricted_to(Profile::Tpm), Err(upgrade));
        for found in Profile::ALL {
            for asked in Profile::ALL {
                let allowed = asked == found || asked == Profile::Swtpm;
                assert_eq!(found.restricted_to(asked).is_ok(), allowed);
            }
        }
    }

    #[test]
    fn configuration_may_claim_less() {
        for found in Profile::ALL {
            assert_eq!(found.restricted_to(Profile::Swtpm), Ok(Profile::Swtpm));
            assert_eq!(found.restricted_to(found), Ok(found));
        }
    }

    #[test]
    fn every_profile_has_a_name_and_no_other_name_is_one() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        for name in ["", "TPM", "gcp", "tpm "] {
            assert_eq!(name.parse::<Profile>(), Err(NoProfile(name.to_owned())));
        }
    }
}
