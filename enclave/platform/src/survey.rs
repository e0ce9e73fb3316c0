//! What a TPM is and what it keeps, asked without changing anything.
//!
//! In: an address, and the release key under which indices are ours. Out: a [`Survey`]. Only commands that read are
//! sent: no key is made, no session begun, no clock set. Beside a running gateway this works where the kernel's
//! resource manager shares the TPM; a software TPM has one client at a time, and lets nobody else in.
//!
//! [`crate::Tpm::open`] is what a gateway does; it makes a storage key where there is none.

use crate::attester::{Detected, Profile};
use crate::commands::TpmClock;
use crate::connection::{Authorization, Connection};
use crate::device::{STORAGE_KEY, read_event_log, salt_key};
use crate::error::{PolicyError, TpmError};
use crate::nv::{NvIndex, Written};
use crate::pcr::{PcrSet, PcrValues};
use crate::policy::ReleaseKey;
use crate::processor::Places;
use crate::transport::TpmAddress;
use crate::vouching::{PARAVISOR_KEY, has_google_key, paravisor_report};
use std::time::Duration;

/// How long a software TPM may take for one command. One that somebody else talks to does not answer at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// `TPM_PT_MANUFACTURER`, `TPM_PT_FIRMWARE_VERSION_1` and `_2`, `TPM_PT_PERMANENT`. Source: Part 2, table 23.
const PT_MANUFACTURER: u32 = 0x105;
const PT_FIRMWARE: [u32; 2] = [0x10B, 0x10C];
const PT_PERMANENT: u32 = 0x200;

/// Bits of `TPMA_PERMANENT`. Source: Part 2, 8.6.
const OWNER_AUTH_SET: u32 = 1;
const ENDORSEMENT_AUTH_SET: u32 = 2;
const IN_LOCKOUT: u32 = 1 << 9;

/// Whether something of ours is in a TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nothing is there.
    Missing,
    /// Something is there that is not ours.
    Foreign,
    /// Ours, and never written.
    Unwritten,
    /// Ours, and in use.
    InUse,
}

/// What a TPM is and what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Which profile was found, and why.
    pub detected: Detected,
    /// What the TPM calls itself.
    pub vendor: String,
    /// Four letters of its maker.
    pub manufacturer: String,
    /// Version of its firmware, as it says.
    pub firmware: String,
    /// An owner authorization is set: no index and no storage key can be made.
    pub owner_locked: bool,
    /// An endorsement authorization is set: no attestation key can be made.
    pub endorsement_locked: bool,
    /// It does not take authorizations for a while, after wrong ones.
    pub in_lockout: bool,
    /// PCRs of the profile that the SHA-256 bank does not have.
    pub unallocated: Vec<u8>,
    /// Values of PCRs 0 to 7 and those of the profile, if all are allocated.
    pub registers: Option<PcrValues>,
    /// Clock and counts.
    pub clock: TpmClock,
    /// The storage key; [`Kept::InUse`] if it is one we can rely on.
    pub storage_key: Kept,
    /// Name of the storage key, if there is one.
    pub storage_key_name: Option<[u8; 34]>,
    /// The release floor.
    pub floor: Option<Kept>,
    /// What the floor holds.
    pub floor_value: Option<u64>,
    /// The epoch counter.
    pub counter: Option<Kept>,
    /// A paravisor's report, or why it could not be read.
    pub paravisor: Result<Option<Vec<u8>>, TpmError>,
    /// Whether the paravisor's attestation key is there.
    pub platform_key: bool,
    /// Whether a key of Google's is there, with its certificate.
    pub google_key: bool,
    /// The measured-boot event log; nothing where the kernel shows none.
    pub event_log: Result<Option<Vec<u8>>, PolicyError>,
}

impl Survey {
    /// Asks a TPM. Floor and counter are looked for if there is a release key under which they would be ours.
    ///
    /// # Errors
    /// When nothing answers, somebody else holds it, or it answers nonsense.
    pub fn of(address: &TpmAddress, release: Option<&ReleaseKey>) -> Result<Self, TpmError> {
        let mut c = Connection::open_for(address, PATIENCE)?;
        let vendor = c.vendor_string()?;
        let paravisor = paravisor_report(&mut c);
        let report = paravisor.as_ref().ok().and_then(Option::as_deref);
        let permanent = c.property(PT_PERMANENT)?.unwrap_or_default();
        let permanent = u32::from_be_bytes(permanent);
        let allocated = c.allocated()?;
        let has = |index: u8| allocated.is_some_and(|set| set.contains(index));
        let unallocated: Vec<u8> = PcrSet::PROFILE.iter().filter(|i| !has(*i)).collect();
        let storage = c.read_public(STORAGE_KEY)?;
        let storage_key = match &storage {
            None => Kept::Missing,
            Some(public) if salt_key(&public.area).is_some() => Kept::InUse,
            Some(_) => Kept::Foreign,
        };
        let floor = release.map(NvIndex::floor);
        let floor_kept = floor.map(|index| kept(&mut c, index)).transpose()?;
        let floor_value = match (floor, floor_kept) {
            (Some(index), Some(Kept::InUse)) => {
                let named = (index.handle(), index.name(Written::Yes));
                Some(c.nv_read(&named, Authorization::EmptyPassword)?)
            }
            _ => None,
        };
        let counter = release.map(NvIndex::counter);
        let counter = counter.map(|index| kept(&mut c, index)).transpose()?;
        Ok(Self {
            detected: Profile::detect(address, &vendor, report, Places::default().machine()),
            manufacturer: letters(c.property(PT_MANUFACTURER)?.unwrap_or_default()),
            firmware: firmware(&mut c)?,
            owner_locked: permanent & OWNER_AUTH_SET != 0,
            endorsement_locked: permanent & ENDORSEMENT_AUTH_SET != 0,
            in_lockout: permanent & IN_LOCKOUT != 0,
            registers: registers(&mut c, &unallocated)?,
            clock: c.read_clock()?,
            storage_key,
            storage_key_name: storage.map(|public| public.name),
            floor: floor_kept,
            floor_value,
            counter,
            platform_key: c.read_public(PARAVISOR_KEY)?.is_some(),
            google_key: has_google_key(&mut c)?,
            event_log: match address.event_log_path() {
                Some(path) => read_event_log(&path),
                None => Ok(None),
            },
            vendor,
            unallocated,
            paravisor,
        })
    }
}

/// Whether an index is there, and ours.
fn kept(c: &mut Connection, index: NvIndex) -> Result<Kept, TpmError> {
    let Some(public) = c.nv_read_public(index.handle())? else {
        return Ok(Kept::Missing);
    };
    Ok(if public.area == index.public(Written::Yes) {
        Kept::InUse
    } else if public.area == index.public(Written::No) {
        Kept::Unwritten
    } else {
        Kept::Foreign
    })
}

/// What the machine booted to: PCRs 0 to 7, and those of the profile.
fn registers(c: &mut Connection, unallocated: &[u8]) -> Result<Option<PcrValues>, TpmError> {
    if !unallocated.is_empty() {
        return Ok(None);
    }
    let wanted = (0..24).filter(|index| *index < 8 || PcrSet::PROFILE.contains(*index));
    // The set is a fixed one, and the TPM answers for exactly it, so neither is ever wrong here.
    match PcrSet::new(wanted) {
        Ok(set) => Ok(c.pcr_read(set)?.ok()),
        Err(_) => Ok(None),
    }
}

/// Both halves of the firmware's version, by 16 bits, as tools print it.
fn firmware(c: &mut Connection) -> Result<String, TpmError> {
    let mut parts = Vec::new();
    for property in PT_FIRMWARE {
        let [a, b, x, y] = c.property(property)?.unwrap_or_default();
        parts.push(u16::from_be_bytes([a, b]).to_string());
        parts.push(u16::from_be_bytes([x, y]).to_string());
    }
    Ok(parts.join("."))
}

/// Letters of a maker's name, without what fills it up.
fn letters(bytes: [u8; 4]) -> String {
    let text: Vec<u8> = bytes.into_iter().filter(|b| *b != 0).collect();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ApprovalDigest, ReleasePolicy, ReleaseSignature};
    use crate::swtpm::Swtpm;
    use crate::tpm::Tpm;
    use p256::ecdsa::signature::hazmat::PrehashSigner as _;
    use p256::ecdsa::{Signature, SigningKey};
    use std::io::ErrorKind;

    fn release(pcrs: PcrValues, sequence: u64) -> ReleasePolicy {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let public = ReleaseKey::parse(point.as_bytes()).unwrap();
        let sign = |digest: &ApprovalDigest| -> Result<_, p256::ecdsa::Error> {
            let signature: Signature = key.sign_prehash(&digest.0)?;
            let (r, s) = signature.split_bytes();
            Ok(ReleaseSignature {
                r: r.into(),
                s: s.into(),
            })
        };
        ReleasePolicy::approve(pcrs, sequence, public, sign).unwrap()
    }

    #[test]
    fn a_survey_changes_nothing_and_sees_what_a_gateway_made() {
        let state = tempfile::tempdir().unwrap();
        let swtpm = Swtpm::start(state.path()).unwrap();
        let address = swtpm.address();
        let fresh = Survey::of(&address, None).unwrap();
        assert_eq!(
            (fresh.detected.profile, fresh.storage_key),
            (Profile::Swtpm, Kept::Missing)
        );
        assert_eq!((fresh.floor, fresh.counter), (None, None));
        assert_eq!(fresh.paravisor, Ok(None));
        assert_eq!(fresh.manufacturer, "IBM");
        assert_eq!(fresh.unallocated, []);
        let values = fresh.registers.clone().unwrap();
        let profile = values.iter().filter(|(i, _)| PcrSet::PROFILE.contains(*i));
        let release = release(PcrValues::new(profile.map(|(i, v)| (i, *v))).unwrap(), 3);
        let key = release.release_key;
        let empty = Survey::of(&address, Some(&key)).unwrap();
        assert_eq!(
            (empty.floor, empty.counter),
            (Some(Kept::Missing), Some(Kept::Missing))
        );
        let tpm = Tpm::open(address.clone()).unwrap();
        tpm.provision(&release, 2).unwrap();
        drop(tpm);
        let used = Survey::of(&address, Some(&key)).unwrap();
        assert_eq!(used.storage_key, Kept::InUse);
        assert_eq!((used.floor, used.floor_value), (Some(Kept::InUse), Some(2)));
        assert_eq!(used.counter, Some(Kept::InUse));
        let again = Survey::of(&address, Some(&key)).unwrap();
        assert_eq!(
            Survey {
                clock: used.clock,
                ..again
            },
            used,
            "a survey left something behind"
        );
    }

    #[test]
    fn what_is_at_our_handles_under_another_release_key_is_foreign() {
        let state = tempfile::tempdir().unwrap();
        let swtpm = Swtpm::start(state.path()).unwrap();
        let tpm = Tpm::open(swtpm.address()).unwrap();
        let release = release(tpm.pcrs(PcrSet::PROFILE).unwrap(), 1);
        tpm.provision(&release, 1).unwrap();
        drop(tpm);
        let other = SigningKey::from_slice(&[8; 32]).unwrap();
        let other = other.verifying_key().to_sec1_point(false);
        let other = ReleaseKey::parse(other.as_bytes()).unwrap();
        let found = Survey::of(&swtpm.address(), Some(&other)).unwrap();
        assert_eq!(
            (found.floor, found.floor_value),
            (Some(Kept::Foreign), None)
        );
        assert_eq!(found.counter, Some(Kept::Foreign));
    }

    #[test]
    fn no_tpm_and_one_that_somebody_else_holds_are_told_apart() {
        let nowhere = TpmAddress::Device("/nonexistent/tpmrm0".into());
        assert!(matches!(
            Survey::of(&nowhere, None),
            Err(TpmError::Unreachable {
                cause: ErrorKind::NotFound,
                ..
            })
        ));
        let state = tempfile::tempdir().unwrap();
        let swtpm = Swtpm::start(state.path()).unwrap();
        let held = Tpm::open(swtpm.address()).unwrap();
        assert!(matches!(
            Survey::of(&swtpm.address(), None),
            Err(TpmError::Transport {
                cause: ErrorKind::WouldBlock | ErrorKind::TimedOut,
                ..
            })
        ));
        drop(held);
        // Whoever gave up waiting has left a connection behind, which the TPM has to get over.
        let free = Survey::of(&swtpm.address(), None).unwrap();
        assert_eq!(free.storage_key, Kept::InUse);
    }
}
