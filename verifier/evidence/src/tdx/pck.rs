//! What a platform's certificate says of the platform: Intel's extension.
//!
//! In: the value of extension 1.2.840.113741.1.13.1, DER. Out: [`PckExtension`]. Elements come in the
//! order of their numbers, each once; the last two stand in certificates of the Platform CA alone.
//!
//! Source: Intel SGX PCK Certificate and CRL Profile Specification, "SGX Extensions".

use core::fmt;

use countersign_certificates::der::{self, DerError, Reader};
use thiserror::Error;

use super::types::{CpuSvn, Fmspc, PceId, Ppid};

/// 1.2.840.113741.1.13.1
pub(super) const OID: &[u8] = b"\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01";

/// What a platform's certificate says of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PckExtension {
    ppid: Ppid,
    components: [u8; 16],
    pce_svn: u16,
    cpu_svn: CpuSvn,
    pce_id: PceId,
    fmspc: Fmspc,
    flags: PlatformFlags,
}

/// How a platform is configured; `None` where its certificate does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlatformFlags {
    /// Packages can be added to it later.
    pub dynamic_platform: Option<bool>,
    /// Intel keeps its root keys.
    pub cached_keys: Option<bool>,
    /// Two threads share a core.
    pub smt: Option<bool>,
}

impl fmt::Display for PlatformFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |flag| match flag {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not said",
        };
        write!(
            f,
            "dynamic platform: {}, cached keys: {}, smt: {}",
            say(self.dynamic_platform),
            say(self.cached_keys),
            say(self.smt)
        )
    }
}

/// Why an extension does not say which platform it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum PckError {
    /// It is not there.
    #[error("the platform's certificate has no sgx extension")]
    Absent,
    /// It has another form.
    #[error("sgx extension: {0}")]
    Form(#[from] DerError),
    /// An element is missing, or another stands in its place.
    #[error("sgx extension has no element {0} in its place")]
    Element(&'static str),
    /// An element has a value of another length or range.
    #[error("sgx extension has a value of {0} that it cannot have")]
    Value(&'static str),
}

impl PckExtension {
    pub(super) fn parse(value: &[u8]) -> Result<Self, PckError> {
        let mut outer = Reader::new(value);
        let mut r = outer.sequence("SGX extension")?;
        outer.end("SGX extension")?;
        let ppid = Ppid(octets(&mut element(&mut r, &[1], "PPID")?, "PPID")?);
        let (components, pce_svn, cpu_svn) = tcb(&mut element(&mut r, &[2], "TCB")?)?;
        let pce_id = PceId(octets(&mut element(&mut r, &[3], "PCEID")?, "PCEID")?);
        let fmspc = Fmspc(octets(&mut element(&mut r, &[4], "FMSPC")?, "FMSPC")?);
        let mut kind = element(&mut r, &[5], "SGX type")?;
        der::number(kind.expect(ENUMERATED, "SGX type")?, "SGX type")?;
        kind.end("SGX type")?;
        let mut flags = PlatformFlags::default();
        if !r.is_empty() {
            let name = "platform instance";
            octets::<16>(&mut element(&mut r, &[6], name)?, name)?;
            let mut inside = element(&mut r, &[7], "configuration")?;
            flags = configuration(&mut inside)?;
        }
        r.end("SGX extension")?;
        Ok(Self {
            ppid,
            components,
            pce_svn,
            cpu_svn,
            pce_id,
            fmspc,
            flags,
        })
    }

    /// Which platform.
    #[must_use]
    pub fn ppid(&self) -> Ppid {
        self.ppid
    }

    /// Versions of the sixteen components, as Intel's levels count them.
    #[must_use]
    pub fn components(&self) -> [u8; 16] {
        self.components
    }

    /// Version of the provisioning certification enclave.
    #[must_use]
    pub fn pce_svn(&self) -> u16 {
        self.pce_svn
    }

    /// The versions in the processor's own form.
    #[must_use]
    pub fn cpu_svn(&self) -> CpuSvn {
        self.cpu_svn
    }

    /// Number of the provisioning certification enclave.
    #[must_use]
    pub fn pce_id(&self) -> PceId {
        self.pce_id
    }

    /// Family and model.
    #[must_use]
    pub fn fmspc(&self) -> Fmspc {
        self.fmspc
    }

    /// How it is configured.
    #[must_use]
    pub fn flags(&self) -> PlatformFlags {
        self.flags
    }
}

/// The value of the next element, which has to have this number below Intel's.
fn element<'a>(
    r: &mut Reader<'a>,
    number: &[u8],
    name: &'static str,
) -> Result<Reader<'a>, PckError> {
    if r.is_empty() {
        return Err(PckError::Element(name));
    }
    let mut pair = r.sequence(name)?;
    let oid = pair.oid(name)?;
    if oid.strip_prefix(OID) == Some(number) {
        Ok(pair)
    } else {
        Err(PckError::Element(name))
    }
}

fn octets<const N: usize>(r: &mut Reader<'_>, name: &'static str) -> Result<[u8; N], PckError> {
    let bytes = r.octets(name)?;
    r.end(name)?;
    bytes.try_into().map_err(|_| PckError::Value(name))
}

fn tcb(pair: &mut Reader<'_>) -> Result<([u8; 16], u16, CpuSvn), PckError> {
    let mut r = pair.sequence("TCB")?;
    pair.end("TCB")?;
    let mut components = [0; 16];
    for (number, component) in (1_u8..).zip(components.iter_mut()) {
        let name = "a TCB component";
        *component = integer(&mut element(&mut r, &[2, number], name)?, name)?;
    }
    let pce_svn = integer(&mut element(&mut r, &[2, 17], "PCESVN")?, "PCESVN")?;
    let cpu_svn = CpuSvn(octets(&mut element(&mut r, &[2, 18], "CPUSVN")?, "CPUSVN")?);
    r.end("TCB")?;
    Ok((components, pce_svn, cpu_svn))
}

fn integer<N: TryFrom<u64>>(r: &mut Reader<'_>, name: &'static str) -> Result<N, PckError> {
    let number = r.number(name)?;
    r.end(name)?;
    N::try_from(number).map_err(|_| PckError::Value(name))
}

fn configuration(pair: &mut Reader<'_>) -> Result<PlatformFlags, PckError> {
    let mut r = pair.sequence("configuration")?;
    pair.end("configuration")?;
    let mut flags = PlatformFlags::default();
    let all = [
        (1, &mut flags.dynamic_platform),
        (2, &mut flags.cached_keys),
        (3, &mut flags.smt),
    ];
    for (number, flag) in all {
        let name = "a flag of the configuration";
        let mut pair = element(&mut r, &[7, number], name)?;
        *flag = Some(der::boolean(pair.expect(der::BOOLEAN, name)?, name)?);
        pair.end(name)?;
    }
    r.end("configuration")?;
    Ok(flags)
}

/// Tag of an enumerated value.
const ENUMERATED: u8 = 0x0a;
