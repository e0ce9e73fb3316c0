//! What Countersign does with a TPM, on the thread that owns it.
//!
//! In: requests of [`crate::Tpm`]. Out: sealed blobs, secrets, counter values, evidence.
//! Every session and transient object is flushed on every path: a software TPM has three slots
//! of each. Causes are named before the TPM is asked (floor, PCRs, whose blob); the TPM enforces
//! the same again, so a wrong answer to the naming can only change the message.

use crate::attester::{AttestationKey, Detected, Profile, Qualifying, TpmEvidence};
use crate::blob::{
    LABEL_TAG_BYTES, MAX_SECRET_BYTES, MIN_SECRET_BYTES, SealLabel, SealedBlob, sealed_template,
};
use crate::commands::{Attested, Public, RH_ENDORSEMENT, RH_OWNER, TpmClock};
use crate::connection::{Authorization, Connection, Named};
use crate::error::{
    PolicyError, RC_AUTH_FAIL, RC_BAD_AUTH, RC_ECC_POINT, RC_INTEGRITY, RC_SIGNATURE, SealError,
    TpmError, UnsealError,
};
use crate::nv::{NvIndex, RING_SLOT_BYTES, Written, floor_branches};
use crate::pcr::{PcrSet, PcrValues};
use crate::policy::{ApprovalDigest, NvName, ReleaseKey, ReleasePolicy, name_of};
use crate::processor::Places;
use crate::session::{Protect, SaltKey, Session, SessionKind};
use crate::transport::TpmAddress;
use crate::vouching::paravisor_report;
use crate::wire::{Reader, WireError};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Handle of the storage key. Source: TCG TPM v2.0 Provisioning Guidance, 7.8.
pub(crate) const STORAGE_KEY: u32 = 0x8100_0001;

/// Storage key: ECC P-256, restricted decryption, AES-128-CFB, empty `unique`.
/// Source: TCG TPM v2.0 Provisioning Guidance, 7.5.1.
const STORAGE_TEMPLATE: [u8; 26] = [
    0x00, 0x23, 0x00, 0x0B, 0x00, 0x03, 0x04, 0x72, 0x00,
    0x00, // ECC · SHA-256 · attributes · no policy
    0x00, 0x06, 0x00, 0x80, 0x00, 0x43, // AES · 128 bits · CFB
    0x00, 0x10, 0x00, 0x03, 0x00, 0x10, // no scheme · P-256 · no KDF
    0x00, 0x00, 0x00, 0x00, // unique: empty x, empty y
];

/// Attestation key: ECDSA P-256 with SHA-256; `restricted | sign | fixedTPM | fixedParent |
/// sensitiveDataOrigin | userWithAuth | noDA`. Restricted: it signs only what the TPM made.
/// A primary of the endorsement hierarchy: elsewhere a TPM obfuscates clock counts and firmware
/// version in what it attests, and a primary is the same key at every start.
pub(crate) const ATTESTATION_TEMPLATE: [u8; 24] = [
    0x00, 0x23, 0x00, 0x0B, 0x00, 0x05, 0x04, 0x72, 0x00,
    0x00, // ECC · SHA-256 · attributes · no policy
    0x00, 0x10, 0x00, 0x18, 0x00, 0x0B, // no cipher · ECDSA · SHA-256
    0x00, 0x03, 0x00, 0x10, // P-256 · no KDF
    0x00, 0x00, 0x00, 0x00, // unique: empty x, empty y
];

/// What a storage key's attributes must contain: `fixedTPM | fixedParent | sensitiveDataOrigin |
/// userWithAuth | restricted | decrypt`.
const STORAGE_ATTRIBUTES: u32 = 0x0003_0072;

/// Quotes taken before giving up on PCRs that keep changing.
const QUOTE_ATTEMPTS: u32 = 3;

/// Largest event log read, in bytes (4 MiB). Logs seen are 20 to 120 KiB; the kernel's buffer is
/// what the firmware left.
const MAX_EVENT_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// Most random bytes given at once.
pub(crate) const MAX_RANDOM_BYTES: usize = 1024;

/// What provisioning found or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// The index was not there.
    Created,
    /// The index was there, with our attributes and policy.
    Found,
}

/// What provisioning left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisioned {
    /// The release floor's index.
    pub floor_index: IndexState,
    /// The counter's index.
    pub counter_index: IndexState,
    /// The floor now. Differs from what was asked for when the index was found.
    pub floor: u64,
}

/// Who a TPM is, as far as it can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmIdentity {
    /// Which platform it belongs to, and why.
    pub detected: Detected,
    /// The vendor string.
    pub vendor: String,
    /// The attestation key.
    pub attestation_key: AttestationKey,
    /// Name of the storage key; blobs of another do not open here.
    pub storage_key_name: [u8; 34],
}

/// What an empty slot holds: version 0.
const EMPTY_SLOT: [u8; 40] = [0; 40];

/// A secret of the storage ring.
pub struct RingSecret {
    /// Version, from 1.
    pub version: u32,
    /// The secret.
    pub secret: Zeroizing<[u8; 32]>,
}

impl RingSecret {
    /// What a slot holds; nothing if it is empty.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let mut r = Reader::new(bytes);
        let version = r.u64()?;
        let secret = Zeroizing::new(r.array()?);
        r.end()?;
        Ok(u32::try_from(version)
            .ok()
            .filter(|v| *v > 0)
            .map(|version| Self { version, secret }))
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::from(RING_SLOT_BYTES)));
        bytes.extend_from_slice(&u64::from(self.version).to_be_bytes());
        bytes.extend_from_slice(self.secret.as_slice());
        bytes
    }
}

/// A certified counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvCertification {
    /// The value certified.
    pub value: u64,
    /// `TPMS_NV_PUBLIC`, with the attribute that says it was written.
    pub nv_public: Vec<u8>,
    /// `TPMS_ATTEST` of type NV.
    pub certify: Vec<u8>,
    /// `TPMT_SIGNATURE` of the attestation key.
    pub certify_signature: Vec<u8>,
}

/// A quote with the values it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// `TPMS_ATTEST` of type quote.
    pub quote: Vec<u8>,
    /// `TPMT_SIGNATURE` of the attestation key.
    pub quote_signature: Vec<u8>,
    /// The PCR values; their composite digest is in the quote.
    pub pcrs: PcrValues,
}

/// A connected TPM with its two keys.
pub(crate) struct Device {
    pub(crate) connection: Connection,
    identity: TpmIdentity,
    salt_key: SaltKey,
    attestation_key: u32,
    event_log: Option<PathBuf>,
}

/// A release policy whose signature this TPM verified, with the index it compares.
struct Appraised<'a> {
    release: &'a ReleasePolicy,
    ticket: Vec<u8>,
    floor: (u32, NvName),
    floor_value: u64,
}

impl Device {
    /// Connects, finds or makes the storage key, makes the attestation key.
    pub(crate) fn open(address: &TpmAddress) -> Result<Self, TpmError> {
        let mut connection = Connection::open(address)?;
        if let TpmAddress::Tcp { .. } = address {
            flush_leftovers(&mut connection)?;
        }
        connection.settle_clock()?;
        let vendor = connection.vendor_string()?;
        let paravisor = match address {
            // A software TPM can have the index; it would still be one.
            TpmAddress::Tcp { .. } => None,
            TpmAddress::Device(_) => paravisor_report(&mut connection)?,
        };
        let machine = Places::default().machine();
        let detected = Profile::detect(address, &vendor, paravisor.as_deref(), machine);
        let (storage_key, salt_key) = storage_key(&mut connection)?;
        let key = connection.create_primary(RH_ENDORSEMENT, &ATTESTATION_TEMPLATE)?;
        let attestation_key = AttestationKey {
            name: key.public.name,
            tpmt_public: key.public.area,
        };
        let identity = TpmIdentity {
            detected,
            vendor,
            attestation_key,
            storage_key_name: storage_key.name,
        };
        let event_log = address.event_log_path();
        Ok(Self {
            connection,
            identity,
            salt_key,
            attestation_key: key.handle,
            event_log,
        })
    }

    pub(crate) fn identity(&self) -> &TpmIdentity {
        &self.identity
    }

    pub(crate) fn attestation_key(&self) -> u32 {
        self.attestation_key
    }

    /// Runs something in a salted session and flushes it, whatever comes of it.
    fn in_session<T, E: From<TpmError>>(
        &mut self,
        kind: SessionKind,
        run: impl FnOnce(&mut Self, &mut Session) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut session = self
            .connection
            .start_session(kind, (&self.salt_key, STORAGE_KEY))?;
        let result = run(self, &mut session);
        let flushed = self.connection.flush(session.handle);
        let value = result?;
        flushed?;
        Ok(value)
    }

    /// Random bytes of the TPM.
    pub(crate) fn random(&mut self, count: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        if count > MAX_RANDOM_BYTES {
            return Err(TpmError::TooManyBytes {
                asked: count,
                limit: MAX_RANDOM_BYTES,
            });
        }
        self.in_session(SessionKind::Hmac, |device, session| {
            let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_RANDOM_BYTES));
            while bytes.len() < count {
                let missing = count.saturating_sub(bytes.len()).min(32);
                let some = device
                    .connection
                    .get_random(u16::try_from(missing).unwrap_or(32), session)?;
                if some.is_empty() {
                    let wrong = WireError::Short {
                        wanted: missing,
                        left: 0,
                    };
                    return Err(TpmError::Malformed {
                        command: "TPM2_GetRandom",
                        wrong,
                    });
                }
                bytes.extend(some.iter().take(missing));
            }
            Ok(bytes)
        })
    }

    /// Clock and counts.
    pub(crate) fn clock(&mut self) -> Result<TpmClock, TpmError> {
        self.connection.read_clock()
    }

    /// Values of PCRs.
    pub(crate) fn pcrs(&mut self, set: PcrSet) -> Result<PcrValues, PolicyError> {
        Ok(self.connection.pcr_read(set)??)
    }

    /// Seals a secret for whatever a release key approves.
    pub(crate) fn seal(
        &mut self,
        secret: &Zeroizing<Vec<u8>>,
        label: SealLabel,
        release_key: &ReleaseKey,
    ) -> Result<SealedBlob, SealError> {
        if !(MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&secret.len()) {
            return Err(SealError::Length {
                found: secret.len(),
                least: MIN_SECRET_BYTES,
                most: MAX_SECRET_BYTES,
            });
        }
        let mut payload = Zeroizing::new(Vec::with_capacity(128));
        payload.extend_from_slice(&label.tag());
        payload.extend_from_slice(secret);
        let template = sealed_template(&release_key.seal_policy());
        let storage_key = self.identity.storage_key_name;
        self.in_session(SessionKind::Hmac, |device, session| {
            let parent = Named {
                handle: STORAGE_KEY,
                name: &storage_key,
            };
            let (private, public) = device
                .connection
                .create(parent, session, &payload, &template)?;
            Ok(SealedBlob {
                storage_key,
                public,
                private,
            })
        })
    }

    /// Opens a blob under a release policy.
    pub(crate) fn unseal(
        &mut self,
        blob: &SealedBlob,
        label: SealLabel,
        release: &ReleasePolicy,
    ) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let storage_key = self.identity.storage_key_name;
        if blob.storage_key != storage_key {
            return Err(UnsealError::OtherTpm {
                sealed_under: hex(&blob.storage_key),
                here: hex(&storage_key),
            });
        }
        if !blob.has_policy(&release.release_key.seal_policy()) {
            return Err(UnsealError::OtherReleaseKey);
        }
        let appraised = self.appraise(release)?;
        let object = self.in_session(SessionKind::Hmac, |device, session| {
            let parent = Named {
                handle: STORAGE_KEY,
                name: &storage_key,
            };
            device
                .connection
                .load(parent, session, &blob.private, &blob.public)
        });
        let object = object.map_err(|error| {
            if error.is_refusal(&[RC_INTEGRITY]) {
                UnsealError::Altered
            } else {
                error.into()
            }
        })?;
        let name = name_of(&blob.public);
        let payload: Result<_, PolicyError> =
            self.in_session(SessionKind::Policy, |device, session| {
                device.satisfy(session, &appraised)?;
                Ok(device.connection.unseal(
                    Named {
                        handle: object,
                        name: &name,
                    },
                    session,
                )?)
            });
        let flushed = self.connection.flush(object);
        let payload = payload?;
        flushed?;
        match payload.split_at_checked(LABEL_TAG_BYTES) {
            Some((tag, secret)) if tag == label.tag() => Ok(Zeroizing::new(secret.to_vec())),
            Some(_) | None => Err(UnsealError::OtherLabel { expected: label.0 }),
        }
    }

    /// Makes floor, counter and the ring's slots where they are missing; never changes what is there.
    pub(crate) fn provision(
        &mut self,
        release: &ReleasePolicy,
        floor: u64,
    ) -> Result<Provisioned, PolicyError> {
        if floor > release.sequence {
            return Err(PolicyError::FloorAboveSelf {
                asked: floor,
                sequence: release.sequence,
            });
        }
        let key = &release.release_key;
        let floor_index = self.define(NvIndex::floor(key))?;
        if self.written(NvIndex::floor(key))? == Written::No {
            self.write_first_floor(key, floor)?;
        }
        let counter_index = self.define(NvIndex::counter(key))?;
        let appraised = self.appraise(release)?;
        if self.written(NvIndex::counter(key))? == Written::No {
            // The first step writes the index, and with it fixes the name that verifiers recompute.
            self.in_session(SessionKind::Policy, |device, session| {
                device.step(session, &appraised)
            })?;
        }
        for slot in NvIndex::ring(key) {
            let _state = self.define(slot)?;
        }
        Ok(Provisioned {
            floor_index,
            counter_index,
            floor: appraised.floor_value,
        })
    }

    /// Makes an index unless it is there; a foreign one at its handle is an error.
    fn define(&mut self, index: NvIndex) -> Result<IndexState, PolicyError> {
        if self.connection.nv_read_public(index.handle())?.is_some() {
            let _ours = self.written(index)?;
            return Ok(IndexState::Found);
        }
        match self.connection.nv_define(&index.public(Written::No)) {
            Ok(()) => Ok(IndexState::Created),
            Err(error) if error.is_refusal(&[RC_AUTH_FAIL, RC_BAD_AUTH]) => {
                Err(PolicyError::OwnerAuthorizationSet)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an index that must be ours was written.
    fn written(&mut self, index: NvIndex) -> Result<Written, PolicyError> {
        let public = self.connection.nv_read_public(index.handle())?;
        let Public { area, .. } = public.ok_or(PolicyError::IndexMissing {
            index: index.handle(),
        })?;
        [Written::Yes, Written::No]
            .into_iter()
            .find(|written| area == index.public(*written))
            .ok_or(PolicyError::IndexForeign {
                index: index.handle(),
            })
    }

    /// Handle and name of an index that must be ours and written.
    fn in_use(&mut self, index: NvIndex) -> Result<(u32, NvName), PolicyError> {
        match self.written(index)? {
            Written::Yes => Ok((index.handle(), index.name(Written::Yes))),
            Written::No => Err(PolicyError::IndexUnwritten {
                index: index.handle(),
            }),
        }
    }

    /// The first write of the floor, by the branch that holds only until then.
    fn write_first_floor(&mut self, key: &ReleaseKey, floor: u64) -> Result<(), PolicyError> {
        let index = NvIndex::floor(key);
        let named = (index.handle(), index.name(Written::No));
        self.in_session(SessionKind::Policy, |device, session| {
            device.connection.policy_not_yet_written(session)?;
            device
                .connection
                .policy_either(session, &floor_branches(key))?;
            Ok(device.connection.nv_write(&named, session, floor)?)
        })
    }

    /// Verifies a release's approval and names what keeps it from holding here.
    fn appraise<'a>(&mut self, release: &'a ReleasePolicy) -> Result<Appraised<'a>, PolicyError> {
        let ticket = self.ticket(release)?;
        let floor = self.in_use(NvIndex::floor(&release.release_key))?;
        let floor_value = self
            .connection
            .nv_read(&floor, Authorization::EmptyPassword)?;
        if floor_value > release.sequence {
            return Err(PolicyError::FloorAboveRelease {
                floor: floor_value,
                sequence: release.sequence,
            });
        }
        let found = self.pcrs(release.pcrs.set())?;
        let pcrs = release.pcrs.differing(&found);
        if pcrs.is_empty() {
            Ok(Appraised {
                release,
                ticket,
                floor,
                floor_value,
            })
        } else {
            Err(PolicyError::PcrChanged { pcrs })
        }
    }

    /// The TPM's ticket that the release key signed this policy.
    fn ticket(&mut self, release: &ReleasePolicy) -> Result<Vec<u8>, PolicyError> {
        let loaded = self.connection.load_external(&release.release_key);
        let key = loaded.map_err(|error| {
            if error.is_refusal(&[RC_ECC_POINT]) {
                PolicyError::ReleaseKeyInvalid
            } else {
                error.into()
            }
        })?;
        let digest = ApprovalDigest::of(&release.approved());
        let ticket = release
            .tpmt_signature()
            .finish()
            .map_err(|wrong| TpmError::Malformed {
                command: "TPM2_VerifySignature",
                wrong,
            })
            .and_then(|signature| self.connection.verify_signature(key, &digest.0, &signature));
        let flushed = self.connection.flush(key);
        let ticket = ticket.map_err(|error| {
            if error.is_refusal(&[RC_SIGNATURE]) {
                PolicyError::SignatureWrong
            } else {
                error.into()
            }
        })?;
        flushed?;
        Ok(ticket)
    }

    /// Runs the seal policy in a session. A session is back at its start after each command it
    /// authorized, so this comes before each of them.
    fn satisfy(&mut self, session: &Session, appraised: &Appraised<'_>) -> Result<(), PolicyError> {
        let Appraised {
            release,
            ticket,
            floor,
            floor_value: _,
        } = appraised;
        self.connection.policy_pcr(session, &release.pcrs)?;
        self.connection
            .policy_nv_at_most(session, floor, release.sequence)?;
        Ok(self.connection.policy_authorize(
            session,
            &release.release_key,
            &release.approved(),
            ticket,
        )?)
    }

    /// What the floor holds.
    pub(crate) fn floor(&mut self, key: &ReleaseKey) -> Result<u64, PolicyError> {
        let floor = self.in_use(NvIndex::floor(key))?;
        Ok(self
            .connection
            .nv_read(&floor, Authorization::EmptyPassword)?)
    }

    /// Raises the floor; equal is nothing to do, lower is an error.
    pub(crate) fn raise_floor(
        &mut self,
        release: &ReleasePolicy,
        floor: u64,
    ) -> Result<(), PolicyError> {
        let appraised = self.appraise(release)?;
        if floor < appraised.floor_value {
            return Err(PolicyError::FloorWouldFall {
                floor: appraised.floor_value,
                asked: floor,
            });
        }
        if floor > release.sequence {
            return Err(PolicyError::FloorAboveSelf {
                asked: floor,
                sequence: release.sequence,
            });
        }
        if floor == appraised.floor_value {
            return Ok(());
        }
        self.in_session(SessionKind::Policy, |device, session| {
            device.satisfy(session, &appraised)?;
            device
                .connection
                .policy_either(session, &floor_branches(&release.release_key))?;
            Ok(device
                .connection
                .nv_write(&appraised.floor, session, floor)?)
        })
    }

    /// Secrets of the storage ring, the oldest first: one, or two while a version replaces another, or none.
    pub(crate) fn ring_secrets(
        &mut self,
        release: &ReleasePolicy,
    ) -> Result<Vec<RingSecret>, PolicyError> {
        let appraised = self.appraise(release)?;
        let mut found = Vec::new();
        for slot in NvIndex::ring(&release.release_key) {
            if self.written(slot)? == Written::No {
                continue;
            }
            let named = (slot.handle(), slot.name(Written::Yes));
            let bytes: Zeroizing<Vec<u8>> =
                self.in_session(SessionKind::Policy, |device, session| {
                    device.satisfy(session, &appraised)?;
                    Ok::<_, PolicyError>(device.connection.nv_read_secret(
                        &named,
                        session,
                        RING_SLOT_BYTES,
                    )?)
                })?;
            found.extend(
                RingSecret::parse(&bytes).map_err(|wrong| TpmError::Malformed {
                    command: "TPM2_NV_Read",
                    wrong,
                })?,
            );
        }
        found.sort_by_key(|s| s.version);
        Ok(found)
    }

    /// Writes the secret of a version into its slot.
    pub(crate) fn write_ring(
        &mut self,
        release: &ReleasePolicy,
        secret: &RingSecret,
    ) -> Result<(), PolicyError> {
        self.write_slot(release, secret.version, &secret.to_bytes())
    }

    /// Overwrites the slot of a version, so that its secret is gone.
    pub(crate) fn clear_ring(
        &mut self,
        release: &ReleasePolicy,
        version: u32,
    ) -> Result<(), PolicyError> {
        self.write_slot(release, version, &EMPTY_SLOT)
    }

    fn write_slot(
        &mut self,
        release: &ReleasePolicy,
        version: u32,
        bytes: &[u8],
    ) -> Result<(), PolicyError> {
        let appraised = self.appraise(release)?;
        let slot = NvIndex::ring_of(&release.release_key, version);
        let named = (slot.handle(), slot.name(self.written(slot)?));
        self.in_session(SessionKind::Policy, |device, session| {
            device.satisfy(session, &appraised)?;
            Ok(device.connection.nv_write_secret(&named, session, bytes)?)
        })
    }

    /// One step of the counter.
    fn step(
        &mut self,
        session: &mut Session,
        appraised: &Appraised<'_>,
    ) -> Result<(), PolicyError> {
        let index = NvIndex::counter(&appraised.release.release_key);
        let named = (index.handle(), index.name(self.written(index)?));
        self.satisfy(session, appraised)?;
        Ok(self.connection.nv_increment(&named, session)?)
    }

    /// Advances the counter; what it holds then.
    pub(crate) fn increment(&mut self, release: &ReleasePolicy) -> Result<u64, PolicyError> {
        let appraised = self.appraise(release)?;
        self.in_session(SessionKind::Policy, |device, session| {
            device.step(session, &appraised)?;
            device.read_counter(session, &appraised)
        })
    }

    /// What the counter holds.
    pub(crate) fn counter(&mut self, release: &ReleasePolicy) -> Result<u64, PolicyError> {
        let appraised = self.appraise(release)?;
        self.in_session(SessionKind::Policy, |device, session| {
            device.read_counter(session, &appraised)
        })
    }

    fn read_counter(
        &mut self,
        session: &mut Session,
        appraised: &Appraised<'_>,
    ) -> Result<u64, PolicyError> {
        let counter = self.in_use(NvIndex::counter(&appraised.release.release_key))?;
        self.satisfy(session, appraised)?;
        let authorization = Authorization::Session(session, Protect::Neither);
        Ok(self.connection.nv_read(&counter, authorization)?)
    }

    /// Certifies the counter.
    pub(crate) fn certify_counter(
        &mut self,
        release: &ReleasePolicy,
        qualifying: Qualifying,
    ) -> Result<NvCertification, PolicyError> {
        let appraised = self.appraise(release)?;
        self.in_session(SessionKind::Policy, |device, session| {
            device.certify(session, &appraised, qualifying)
        })
    }

    fn certify(
        &mut self,
        session: &mut Session,
        appraised: &Appraised<'_>,
        qualifying: Qualifying,
    ) -> Result<NvCertification, PolicyError> {
        let index = NvIndex::counter(&appraised.release.release_key);
        let counter = self.in_use(index)?;
        self.satisfy(session, appraised)?;
        let authorization = Authorization::Session(session, Protect::Neither);
        self.certify_index(index, &counter, authorization, qualifying)
    }

    /// Certifies the floor, which anyone may read.
    pub(crate) fn certify_floor(
        &mut self,
        key: &ReleaseKey,
        qualifying: Qualifying,
    ) -> Result<NvCertification, PolicyError> {
        let index = NvIndex::floor(key);
        let floor = self.in_use(index)?;
        self.certify_index(index, &floor, Authorization::EmptyPassword, qualifying)
    }

    fn certify_index(
        &mut self,
        index: NvIndex,
        named: &(u32, NvName),
        authorization: Authorization<'_>,
        qualifying: Qualifying,
    ) -> Result<NvCertification, PolicyError> {
        let name = self.identity.attestation_key.name;
        let key = Named {
            handle: self.attestation_key,
            name: &name,
        };
        let Attested { attest, signature } =
            self.connection
                .nv_certify(key, named, authorization, &qualifying.0)?;
        let value = Statement::parse(&attest, Statement::NV)
            .and_then(|statement| {
                let mut r = Reader::new(statement.rest);
                let (_name, _offset) = (r.sized()?, r.u16()?);
                let value = Reader::new(r.sized()?).u64()?;
                r.end()?;
                Ok(value)
            })
            .map_err(|wrong| TpmError::Malformed {
                command: "TPM2_NV_Certify",
                wrong,
            })?;
        let nv_public = index.public(Written::Yes).to_vec();
        Ok(NvCertification {
            value,
            nv_public,
            certify: attest,
            certify_signature: signature,
        })
    }

    /// Quotes PCRs, with values that are those quoted.
    pub(crate) fn quote(
        &mut self,
        set: PcrSet,
        qualifying: Qualifying,
    ) -> Result<Quote, PolicyError> {
        for _ in 0..QUOTE_ATTEMPTS {
            let pcrs = self.pcrs(set)?;
            let Attested { attest, signature } =
                self.connection
                    .quote(self.attestation_key, set, &qualifying.0)?;
            let quoted = Statement::parse(&attest, Statement::QUOTE)
                .and_then(|statement| {
                    let mut r = Reader::new(statement.rest);
                    let _selection = r.take(set.selection().len())?;
                    let digest = r.sized()?;
                    r.end()?;
                    Ok(digest == pcrs.digest())
                })
                .map_err(|wrong| TpmError::Malformed {
                    command: "TPM2_Quote",
                    wrong,
                })?;
            if quoted {
                return Ok(Quote {
                    quote: attest,
                    quote_signature: signature,
                    pcrs,
                });
            }
        }
        Err(PolicyError::PcrUnstable {
            attempts: QUOTE_ATTEMPTS,
        })
    }

    /// Quote and certified counter over the same qualifying data.
    pub(crate) fn evidence(
        &mut self,
        release: &ReleasePolicy,
        qualifying: Qualifying,
    ) -> Result<TpmEvidence, PolicyError> {
        let counter = self.certify_counter(release, qualifying)?;
        self.beside(counter, release.pcrs.set(), qualifying)
    }

    /// One step of the counter, then evidence of it.
    pub(crate) fn advance(
        &mut self,
        release: &ReleasePolicy,
        qualifying: Qualifying,
    ) -> Result<(u64, TpmEvidence), PolicyError> {
        let appraised = self.appraise(release)?;
        let counter = self.in_session(SessionKind::Policy, |device, session| {
            device.step(session, &appraised)?;
            device.certify(session, &appraised, qualifying)
        })?;
        let value = counter.value;
        Ok((value, self.beside(counter, release.pcrs.set(), qualifying)?))
    }

    /// Adds quote and event log to a certified counter.
    fn beside(
        &mut self,
        counter: NvCertification,
        set: PcrSet,
        qualifying: Qualifying,
    ) -> Result<TpmEvidence, PolicyError> {
        let Quote {
            quote,
            quote_signature,
            pcrs,
        } = self.quote(set, qualifying)?;
        let NvCertification {
            value: _,
            nv_public,
            certify,
            certify_signature,
        } = counter;
        let clock_of = |attest: &[u8], kind, command| {
            Statement::parse(attest, kind)
                .map(|statement| statement.clock)
                .map_err(|wrong| TpmError::Malformed { command, wrong })
        };
        let quoted = clock_of(&quote, Statement::QUOTE, "TPM2_Quote")?;
        let certified = clock_of(&certify, Statement::NV, "TPM2_NV_Certify")?;
        if quoted.reset_count != certified.reset_count {
            let (quoted, certified) = (quoted.reset_count, certified.reset_count);
            return Err(PolicyError::ResetBetween { quoted, certified });
        }
        if !(quoted.safe && certified.safe) {
            return Err(PolicyError::ClockUnsafe);
        }
        let event_log = self
            .event_log
            .as_deref()
            .map(read_event_log)
            .transpose()?
            .flatten();
        let ak_public = self.identity.attestation_key.tpmt_public.clone();
        let pcrs = pcrs.iter().map(|(index, value)| (index, *value)).collect();
        Ok(TpmEvidence {
            ak_public,
            quote,
            quote_signature,
            pcrs,
            nv_public,
            certify,
            certify_signature,
            event_log,
        })
    }
}

impl Drop for Device {
    /// Frees the attestation key's slot. A device's resource manager would; a software TPM has none,
    /// and if this fails the next connection flushes what is left.
    fn drop(&mut self) {
        let _freed = self.connection.flush(self.attestation_key);
    }
}

/// Frees what a killed process left in a software TPM, which is used by one process at a time.
fn flush_leftovers(connection: &mut Connection) -> Result<(), TpmError> {
    // first handles of: transient objects, loaded sessions, saved sessions
    for first in [0x8000_0000, 0x0200_0000, 0x0300_0000] {
        for handle in connection.loaded_handles(first)? {
            connection.flush(handle)?;
        }
    }
    Ok(())
}

/// The storage key at its handle, made if the handle is free.
fn storage_key(connection: &mut Connection) -> Result<(Public, SaltKey), TpmError> {
    let public = match connection.read_public(STORAGE_KEY)? {
        Some(public) => public,
        None => {
            let key = connection.create_primary(RH_OWNER, &STORAGE_TEMPLATE)?;
            let persisted = connection.persist(key.handle, STORAGE_KEY);
            let flushed = connection.flush(key.handle);
            persisted?;
            flushed?;
            key.public
        }
    };
    let salt_key = salt_key(&public.area).ok_or(TpmError::ForeignStorageKey {
        handle: STORAGE_KEY,
    })?;
    Ok((public, salt_key))
}

/// The point of a storage key that has the attributes we rely on.
pub(crate) fn salt_key(area: &[u8]) -> Option<SaltKey> {
    let mut r = Reader::new(area);
    r.expect_u16("type", 0x0023).ok()?;
    r.expect_u16("nameAlg", 0x000B).ok()?;
    let attributes = r.u32().ok()?;
    let sign = attributes & 0x0004_0000;
    let _policy = r.sized().ok()?;
    let parameters = r.take(12).ok()?;
    if attributes & STORAGE_ATTRIBUTES != STORAGE_ATTRIBUTES
        || sign != 0
        || Some(parameters) != STORAGE_TEMPLATE.get(10..22)
    {
        return None;
    }
    let (x, y) = (r.sized().ok()?, r.sized().ok()?);
    r.end().ok()?;
    let point = [[4u8].as_slice(), &padded(x)?, &padded(y)?].concat();
    let public = p256::PublicKey::from_sec1_bytes(&point).ok()?;
    Some(SaltKey {
        public,
        x: x.to_vec(),
    })
}

/// A coordinate with the leading zeros that a TPM may have dropped.
fn padded(coordinate: &[u8]) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    let start = out.len().checked_sub(coordinate.len())?;
    out.get_mut(start..)?.copy_from_slice(coordinate);
    Some(out)
}

/// What every attestation begins with. SPEC: Part 2, 10.12.12 (`TPMS_ATTEST`).
struct Statement<'a> {
    clock: TpmClock,
    rest: &'a [u8],
}

impl<'a> Statement<'a> {
    /// `TPM_ST_ATTEST_NV`, `TPM_ST_ATTEST_QUOTE`.
    const NV: u16 = 0x8014;
    const QUOTE: u16 = 0x8018;

    fn parse(attest: &'a [u8], kind: u16) -> Result<Self, WireError> {
        let mut r = Reader::new(attest);
        r.expect_u32("magic", 0xFF54_4347)?;
        r.expect_u16("type", kind)?;
        let (_signer, _extra) = (r.sized()?, r.sized()?);
        let clock = TpmClock::read(&mut r)?;
        let _firmware_version = r.u64()?;
        Ok(Self {
            clock,
            rest: r.rest(),
        })
    }
}

/// The measured-boot event log, where the kernel shows one.
pub(crate) fn read_event_log(path: &Path) -> Result<Option<Vec<u8>>, PolicyError> {
    let wrong = |error: io::Error| PolicyError::EventLog {
        cause: error.kind(),
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    let mut log = Vec::new();
    let limit = MAX_EVENT_LOG_BYTES.saturating_add(1);
    let read = file.take(limit).read_to_end(&mut log).map_err(wrong)?;
    if u64::try_from(read) == Ok(limit) {
        return Err(PolicyError::EventLogTooLarge {
            limit: MAX_EVENT_LOG_BYTES,
        });
    }
    Ok(Some(log))
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
