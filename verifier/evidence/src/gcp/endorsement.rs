//! A launch endorsement: what Google says its firmware measures to, and its signature.
//!
//! Layout (protobuf, `endorsement.proto` of google/gce-tcb-verifier, package `cloud_vmm_proto`):
//!
//! | message | fields |
//! |---|---|
//! | `VMLaunchEndorsement` | 1 signed bytes (a `VMGoldenMeasurement`), 2 signature |
//! | `VMGoldenMeasurement` | 1 timestamp, 2 changelist, 3 commit, 4 certificate (DER), 5 SHA-384 of the firmware, 6 issuers (PEM), 7 `VMSevSnp`, 8 `VMTdx` |
//! | `VMSevSnp` | 1 svn, 2 map of processors to measurements, 3 family id, 4 image id, 5 policy, 6 issuers (PEM) |
//! | `VMTdx` | 1 svn, 2 measurements: 1 GiB of memory, 2 early accept, 3 MRTD |
//! | `Timestamp` | 1 seconds, 2 nanoseconds |

use super::protobuf::{Field, ProtobufError, Value, fields, once};

/// Longest endorsement, in bytes (256 KiB). One has two certificates and a hundred measurements.
pub const MAX_ENDORSEMENT_BYTES: usize = 256 * 1024;

/// An endorsement, well formed, verified in no way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchEndorsement<'a> {
    /// What is signed, as it arrived.
    pub signed: &'a [u8],
    /// The signature over it.
    pub signature: &'a [u8],
    /// What it says.
    pub golden: GoldenMeasurement<'a>,
}

/// What Google says of a firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldenMeasurement<'a> {
    /// When it was signed, in milliseconds since 1970.
    pub at_ms: u64,
    /// Google's number of its source; 0 where it names a commit.
    pub changelist: u64,
    /// Commit of its source.
    pub commit: &'a [u8],
    /// Certificate of the key that signed, DER.
    pub certificate: &'a [u8],
    /// SHA-384 of the firmware.
    pub firmware: [u8; 48],
    /// PEM of issuers, from the root down.
    pub issuers: &'a [u8],
    /// Launch measurements of SEV-SNP.
    pub snp: Option<SnpMeasurements<'a>>,
    /// Launch measurements of TDX.
    pub tdx: Option<TdxMeasurements>,
}

/// What a firmware measures to under SEV-SNP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpMeasurements<'a> {
    /// Google's security version of it.
    pub svn: u32,
    /// MEASUREMENT by count of virtual processors.
    pub by_processors: Vec<(u32, [u8; 48])>,
    /// FAMILY_ID, or nothing.
    pub family_id: &'a [u8],
    /// IMAGE_ID, or nothing.
    pub image_id: &'a [u8],
    /// The guest policy that goes with it.
    pub policy: u64,
    /// PEM of keys of the id block.
    pub issuers: &'a [u8],
}

/// What a firmware measures to under TDX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxMeasurements {
    /// Google's security version of it.
    pub svn: u32,
    /// MRTD by how the machine is set up.
    pub by_memory: Vec<TdxMeasurement>,
}

/// MRTD of one kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdxMeasurement {
    /// Memory, in GiB; 0 where it does not matter.
    pub ram_gib: u32,
    /// Whether the firmware accepts all memory.
    pub early_accept: bool,
    /// The measurement.
    pub mrtd: [u8; 48],
}

impl<'a> LaunchEndorsement<'a> {
    /// Reads an endorsement, all of the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        if bytes.len() > MAX_ENDORSEMENT_BYTES {
            return Err(ProtobufError::TooMany {
                limit: MAX_ENDORSEMENT_BYTES,
            });
        }
        let (mut signed, mut signature) = (None, None);
        for field in fields(bytes)? {
            match (field.number, field.value) {
                (1, Value::Bytes(bytes)) => once(&mut signed, 1, bytes)?,
                (2, Value::Bytes(bytes)) => once(&mut signature, 2, bytes)?,
                (field, _) => return Err(ProtobufError::Unknown { field }),
            }
        }
        let signed = signed.ok_or(ProtobufError::Absent { field: 1 })?;
        Ok(Self {
            signed,
            signature: signature.ok_or(ProtobufError::Absent { field: 2 })?,
            golden: GoldenMeasurement::parse(signed)?,
        })
    }
}

impl<'a> GoldenMeasurement<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let (mut at, mut changelist, mut commit, mut certificate) = (None, None, None, None);
        let (mut firmware, mut issuers, mut snp, mut tdx) = (None, None, None, None);
        for field in fields(bytes)? {
            match (field.number, field.value) {
                (1, Value::Bytes(it)) => once(&mut at, 1, timestamp(it)?)?,
                (2, Value::Number(it)) => once(&mut changelist, 2, it)?,
                (3, Value::Bytes(it)) => once(&mut commit, 3, it)?,
                (4, Value::Bytes(it)) => once(&mut certificate, 4, it)?,
                (5, Value::Bytes(it)) => once(&mut firmware, 5, exactly(it, 5)?)?,
                (6, Value::Bytes(it)) => once(&mut issuers, 6, it)?,
                (7, Value::Bytes(it)) => once(&mut snp, 7, SnpMeasurements::parse(it)?)?,
                (8, Value::Bytes(it)) => once(&mut tdx, 8, TdxMeasurements::parse(it)?)?,
                (field, _) => return Err(ProtobufError::Unknown { field }),
            }
        }
        Ok(Self {
            at_ms: at.ok_or(ProtobufError::Absent { field: 1 })?,
            changelist: changelist.unwrap_or_default(),
            commit: commit.unwrap_or_default(),
            certificate: certificate.ok_or(ProtobufError::Absent { field: 4 })?,
            firmware: firmware.ok_or(ProtobufError::Absent { field: 5 })?,
            issuers: issuers.unwrap_or_default(),
            snp,
            tdx,
        })
    }
}

impl<'a> SnpMeasurements<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let (mut svn, mut family_id, mut image_id, mut policy, mut issuers) =
            (None, None, None, None, None);
        let mut by_processors: Vec<(u32, [u8; 48])> = Vec::new();
        for field in fields(bytes)? {
            match (field.number, field.value) {
                (1, Value::Number(it)) => once(&mut svn, 1, narrow(it, 1)?)?,
                (2, Value::Bytes(it)) => {
                    let (count, measurement) = map_entry(it)?;
                    if by_processors.iter().any(|(known, _)| *known == count) {
                        return Err(ProtobufError::Twice { field: 2 });
                    }
                    by_processors.push((count, measurement));
                }
                (3, Value::Bytes(it)) => once(&mut family_id, 3, it)?,
                (4, Value::Bytes(it)) => once(&mut image_id, 4, it)?,
                (5, Value::Number(it)) => once(&mut policy, 5, it)?,
                (6, Value::Bytes(it)) => once(&mut issuers, 6, it)?,
                (field, _) => return Err(ProtobufError::Unknown { field }),
            }
        }
        let id = |value: Option<&'a [u8]>, field| match value.unwrap_or_default() {
            it if matches!(it.len(), 0 | 16) => Ok(it),
            _ => Err(ProtobufError::Value { field }),
        };
        Ok(Self {
            svn: svn.unwrap_or_default(),
            by_processors,
            family_id: id(family_id, 3)?,
            image_id: id(image_id, 4)?,
            policy: policy.unwrap_or_default(),
            issuers: issuers.unwrap_or_default(),
        })
    }
}

impl TdxMeasurements {
    fn parse(bytes: &[u8]) -> Result<Self, ProtobufError> {
        let (mut svn, mut by_memory) = (None, Vec::new());
        for field in fields(bytes)? {
            match (field.number, field.value) {
                (1, Value::Number(it)) => once(&mut svn, 1, narrow(it, 1)?)?,
                (2, Value::Bytes(it)) => by_memory.push(TdxMeasurement::parse(it)?),
                (field, _) => return Err(ProtobufError::Unknown { field }),
            }
        }
        Ok(Self {
            svn: svn.unwrap_or_default(),
            by_memory,
        })
    }
}

impl TdxMeasurement {
    fn parse(bytes: &[u8]) -> Result<Self, ProtobufError> {
        let (mut ram_gib, mut early_accept, mut mrtd) = (None, None, None);
        for Field { number, value } in fields(bytes)? {
            match (number, value) {
                (1, Value::Number(it)) => once(&mut ram_gib, 1, narrow(it, 1)?)?,
                (2, Value::Number(it @ (0 | 1))) => once(&mut early_accept, 2, it == 1)?,
                (3, Value::Bytes(it)) => once(&mut mrtd, 3, exactly(it, 3)?)?,
                (field, _) => return Err(ProtobufError::Unknown { field }),
            }
        }
        Ok(Self {
            ram_gib: ram_gib.unwrap_or_default(),
            early_accept: early_accept.unwrap_or_default(),
            mrtd: mrtd.ok_or(ProtobufError::Absent { field: 3 })?,
        })
    }
}

/// A map's entry is a message of key and value.
fn map_entry(bytes: &[u8]) -> Result<(u32, [u8; 48]), ProtobufError> {
    let (mut key, mut value) = (None, None);
    for field in fields(bytes)? {
        match (field.number, field.value) {
            (1, Value::Number(it)) => once(&mut key, 1, narrow(it, 1)?)?,
            (2, Value::Bytes(it)) => once(&mut value, 2, exactly(it, 2)?)?,
            (field, _) => return Err(ProtobufError::Unknown { field }),
        }
    }
    let value = value.ok_or(ProtobufError::Absent { field: 2 })?;
    Ok((key.unwrap_or_default(), value))
}

/// Milliseconds since 1970, rounded down. Times before 1970 are none here.
fn timestamp(bytes: &[u8]) -> Result<u64, ProtobufError> {
    let (mut seconds, mut nanos) = (None, None);
    for field in fields(bytes)? {
        match (field.number, field.value) {
            (1, Value::Number(it)) => once(&mut seconds, 1, it)?,
            (2, Value::Number(it)) => once(&mut nanos, 2, it)?,
            (field, _) => return Err(ProtobufError::Unknown { field }),
        }
    }
    let nanos = nanos.unwrap_or_default();
    if nanos > 999_999_999 {
        return Err(ProtobufError::Value { field: 2 });
    }
    seconds
        .unwrap_or_default()
        .checked_mul(1000)
        .and_then(|it| it.checked_add(nanos / 1_000_000))
        .ok_or(ProtobufError::Value { field: 1 })
}

fn narrow(value: u64, field: u64) -> Result<u32, ProtobufError> {
    u32::try_from(value).map_err(|_| ProtobufError::Value { field })
}

fn exactly<const N: usize>(bytes: &[u8], field: u64) -> Result<[u8; N], ProtobufError> {
    bytes.try_into().map_err(|_| ProtobufError::Value { field })
}
