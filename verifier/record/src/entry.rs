//! Entries: the signed leaves of a gateway's log.
//!
//! In: a body and its place, or bytes from anywhere. Out: the bytes to sign, or an
//! [`Entry`] with its signature still to be verified. Every entry has the same head, so
//! that order and completeness are checked without knowing the bodies.
//!
//! Spec: `docs/spec/record.md`, "Entries"; CDDL `entry` in `docs/spec/record.cddl`.

use crate::body::{
    Adopt, Approval, Base, Change, Close, Decision, Enrol, Erasure, Event, EvidenceRef, Gap, Hold,
    Intent, Renewal, RunClosed, Stop,
};
use crate::cbor::{Bytes, Cbor, CborError, Reader, Writer};
use crate::cose::{Sign1, Unsigned};
use crate::digest::{EntryDigest, KeyId, RunId, Signature, TenantId, UnixMillis};
use crate::merkle::entry_digest;
use crate::{cbor_enum, cbor_map};
use thiserror::Error;

/// Version of the entry format that this code writes.
pub const FORMAT_VERSION: u64 = 1;

/// Largest entry, in bytes, signature included.
///
/// Source: C2SP tlog-tiles, entry bundles carry lengths of 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;

cbor_enum! {
    /// What an entry records.
    pub enum Kind ("entry kind") {
        /// A customer's fleet statement that names this gateway.
        Enrol = 1: "enrol",
        /// An epoch opens.
        Base = 2: "base",
        /// A call is about to be carried out.
        Intent = 3: "intent",
        /// The Decision Record: a call is settled.
        Decision = 4: "decision",
        /// A person approved or refused an action.
        Approval = 5: "approval",
        /// A run is closed.
        Run = 6: "run",
        /// Something in force changed.
        Change = 7: "change",
        /// Something else worth knowing.
        Event = 8: "event",
        /// The platform vouches for a checkpoint; a lease.
        Renewal = 9: "renewal",
        /// A gateway continues another's work.
        Adopt = 10: "adopt",
        /// A person accepted that entries are missing.
        Gap = 11: "gap",
        /// Disclosures were destroyed.
        Erasure = 12: "erasure",
        /// An epoch ends in good order.
        Close = 13: "close",
        /// Disclosures must be kept, or need not be kept any more.
        Hold = 14: "hold",
        /// Calls are stopped, or may go on again.
        Stop = 15: "stop",
    }
}

impl Kind {
    /// The type in the protected header.
    #[must_use]
    pub fn typ(self) -> &'static str {
        match self {
            Self::Enrol => "application/countersign.enrol+cose",
            Self::Base => "application/countersign.base+cose",
            Self::Intent => "application/countersign.intent+cose",
            Self::Decision => "application/countersign.decision+cose",
            Self::Approval => "application/countersign.approval-entry+cose",
            Self::Run => "application/countersign.run+cose",
            Self::Change => "application/countersign.change+cose",
            Self::Event => "application/countersign.event+cose",
            Self::Renewal => "application/countersign.renewal+cose",
            Self::Adopt => "application/countersign.adopt+cose",
            Self::Gap => "application/countersign.gap+cose",
            Self::Erasure => "application/countersign.erasure+cose",
            Self::Close => "application/countersign.close+cose",
            Self::Hold => "application/countersign.hold+cose",
            Self::Stop => "application/countersign.stop+cose",
        }
    }

    /// The kind whose entries have that type.
    #[must_use]
    pub fn from_typ(typ: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.typ() == typ)
    }
}

cbor_map! {
    /// Another entry, by place and digest.
    pub struct EntryRef {
        /// Its leaf index.
        1 => index: u64,
        /// Its digest.
        2 => digest: EntryDigest,
    }
}

cbor_map! {
    /// Place in a tenant's sequence, which starts at 0 and has no gaps.
    pub struct TenantPlace {
        /// Which tenant.
        1 => tenant: TenantId,
        /// Number within the tenant.
        2 => seq: u64,
    }
}

cbor_map! {
    /// Place in a run's chain, which starts at 0 and has no gaps.
    pub struct RunPlace {
        /// Which run.
        1 => run: RunId,
        /// Number within the run.
        2 => seq: u64,
        /// The entry of this run with the number before; absent in the first.
        3 => previous: Option<EntryDigest>,
    }
}

cbor_map! {
    /// The head that all entries share: where an entry stands.
    pub struct Place {
        /// Leaf index in the log of this gateway.
        1 => index: u64,
        /// The base of the epoch; absent in the base itself.
        2 => base: Option<EntryDigest>,
        /// Claimed time.
        3 => at: UnixMillis,
        /// Milliseconds since the gateway's process started, by a clock that only advances.
        4 => since_boot: u64,
        /// Place in the tenant's sequence, for entries that belong to a tenant.
        5 => tenant: Option<TenantPlace>,
        /// Place in the run's chain, for entries that belong to a run.
        6 => run: Option<RunPlace>,
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "decisions, the largest, are also the most frequent"
)]
pub enum Body {
    /// See [`Enrol`].
    Enrol(Enrol),
    /// See [`Base`].
    Base(Base),
    /// See [`Intent`].
    Intent(Intent),
    /// See [`Decision`].
    Decision(Decision),
    /// See [`Approval`].
    Approval(Approval),
    /// See [`RunClosed`].
    Run(RunClosed),
    /// See [`Change`].
    Change(Change),
    /// See [`Event`].
    Event(Event),
    /// See [`Renewal`].
    Renewal(Renewal),
    /// See [`Adopt`].
    Adopt(Adopt),
    /// See [`Gap`].
    Gap(Gap),
    /// See [`Erasure`].
    Erasure(Erasure),
    /// See [`Close`].
    Close(Close),
    /// See [`Hold`].
    Hold(Hold),
    /// See [`Stop`].
    Stop(Stop),
}

impl Body {
    /// What the entry records.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Enrol(_) => Kind::Enrol,
            Self::Base(_) => Kind::Base,
            Self::Intent(_) => Kind::Intent,
            Self::Decision(_) => Kind::Decision,
            Self::Approval(_) => Kind::Approval,
            Self::Run(_) => Kind::Run,
            Self::Change(_) => Kind::Change,
            Self::Event(_) => Kind::Event,
            Self::Renewal(_) => Kind::Renewal,
            Self::Adopt(_) => Kind::Adopt,
            Self::Gap(_) => Kind::Gap,
            Self::Erasure(_) => Kind::Erasure,
            Self::Close(_) => Kind::Close,
            Self::Hold(_) => Kind::Hold,
            Self::Stop(_) => Kind::Stop,
        }
    }

    /// The evidence that the entry names.
    #[must_use]
    pub fn evidence(&self) -> &[EvidenceRef] {
        match self {
            Self::Base(b) => &b.evidence,
            Self::Renewal(b) => &b.evidence,
            Self::Close(b) => &b.evidence,
            Self::Enrol(_)
            | Self::Intent(_)
            | Self::Decision(_)
            | Self::Approval(_)
            | Self::Run(_)
            | Self::Change(_)
            | Self::Event(_)
            | Self::Adopt(_)
            | Self::Gap(_)
            | Self::Erasure(_)
            | Self::Hold(_)
            | Self::Stop(_) => &[],
        }
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Enrol(b) => b.write(w),
            Self::Base(b) => b.write(w),
            Self::Intent(b) => b.write(w),
            Self::Decision(b) => b.write(w),
            Self::Approval(b) => b.write(w),
            Self::Run(b) => b.write(w),
            Self::Change(b) => b.write(w),
            Self::Event(b) => b.write(w),
            Self::Renewal(b) => b.write(w),
            Self::Adopt(b) => b.write(w),
            Self::Gap(b) => b.write(w),
            Self::Erasure(b) => b.write(w),
            Self::Close(b) => b.write(w),
            Self::Hold(b) => b.write(w),
            Self::Stop(b) => b.write(w),
        }
    }

    fn read(kind: Kind, r: &mut Reader<'_>) -> Result<Self, CborError> {
        Ok(match kind {
            Kind::Enrol => Self::Enrol(Cbor::read(r)?),
            Kind::Base => Self::Base(Cbor::read(r)?),
            Kind::Intent => Self::Intent(Cbor::read(r)?),
            Kind::Decision => Self::Decision(Cbor::read(r)?),
            Kind::Approval => Self::Approval(Cbor::read(r)?),
            Kind::Run => Self::Run(Cbor::read(r)?),
            Kind::Change => Self::Change(Cbor::read(r)?),
            Kind::Event => Self::Event(Cbor::read(r)?),
            Kind::Renewal => Self::Renewal(Cbor::read(r)?),
            Kind::Adopt => Self::Adopt(Cbor::read(r)?),
            Kind::Gap => Self::Gap(Cbor::read(r)?),
            Kind::Erasure => Self::Erasure(Cbor::read(r)?),
            Kind::Close => Self::Close(Cbor::read(r)?),
            Kind::Hold => Self::Hold(Cbor::read(r)?),
            Kind::Stop => Self::Stop(Cbor::read(r)?),
        })
    }
}

/// Values under keys that this version does not know.
///
/// A reader covers them with the signature and prints them. A critical one means
/// that the entry cannot be judged by this version; an optional one changes no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions(Vec<(u64, Bytes)>);

impl Extensions {
    /// Extensions by ascending key; absent if there are none or a key is repeated.
    #[must_use]
    pub fn new(mut pairs: Vec<(u64, Bytes)>) -> Option<Self> {
        pairs.sort();
        let unique = pairs.windows(2).all(|w| !matches!(w, [a, b] if a.0 == b.0));
        (unique && !pairs.is_empty()).then_some(Self(pairs))
    }

    /// The pairs, by ascending key.
    #[must_use]
    pub fn pairs(&self) -> &[(u64, Bytes)] {
        &self.0
    }
}

impl Cbor for Extensions {
    fn write(&self, w: &mut Writer) {
        w.map(self.0.len());
        for (key, value) in &self.0 {
            w.uint(*key);
            value.write(w);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        let start = r.position();
        let pairs = r.pairs(|r| Ok((r.position(), r.uint()?, Bytes::read(r)?)))?;
        if pairs.is_empty() {
            return Err(CborError::OutOfRange {
                at: start,
                what: "number of extensions, which is none",
            });
        }
        let disorder = pairs.windows(2).find_map(|w| match w {
            [(_, before, _), (at, key, _)] if key <= before => Some((*at, *key)),
            _ => None,
        });
        match disorder {
            Some((at, key)) => Err(CborError::KeyOrder {
                at,
                key: i64::try_from(key).unwrap_or(i64::MAX),
            }),
            None => Ok(Self(
                pairs
                    .into_iter()
                    .map(|(_, key, value)| (key, value))
                    .collect(),
            )),
        }
    }
}

/// The payload of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Where the entry stands.
    pub place: Place,
    /// What it says.
    pub body: Body,
    /// Extensions without which the entry cannot be judged.
    pub critical: Option<Extensions>,
    /// Extensions that change no verdict.
    pub optional: Option<Extensions>,
}

/// Keys of the payload map: version, place, body, critical and optional extensions.
mod key {
    pub(super) const VERSION: i64 = 1;
    pub(super) const PLACE: i64 = 2;
    pub(super) const BODY: i64 = 3;
    pub(super) const CRITICAL: i64 = -1;
    pub(super) const OPTIONAL: i64 = -2;
}

impl Payload {
    /// A payload without extensions.
    #[must_use]
    pub fn new(place: Place, body: Body) -> Self {
        Self {
            place,
            body,
            critical: None,
            optional: None,
        }
    }

    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            place,
            body,
            critical,
            optional,
        } = self;
        let mut w = Writer::new();
        let extensions =
            usize::from(critical.is_some()).saturating_add(usize::from(optional.is_some()));
        w.map(extensions.saturating_add(3));
        w.int(key::VERSION);
        w.uint(FORMAT_VERSION);
        w.int(key::PLACE);
        place.write(&mut w);
        w.int(key::BODY);
        body.write(&mut w);
        for (key, map) in [(key::CRITICAL, critical), (key::OPTIONAL, optional)] {
            if let Some(map) = map {
                w.int(key);
                map.write(&mut w);
            }
        }
        w.into_bytes()
    }

    fn parse(kind: Kind, bytes: &[u8]) -> Result<Self, EntryError> {
        let mut r = Reader::new(bytes);
        let version = r.map(|m| {
            let version = m.get::<u64>(key::VERSION)?;
            if version != FORMAT_VERSION {
                m.skip_rest()?;
                return Ok(Err(version));
            }
            Ok(Ok(Self {
                place: m.get(key::PLACE)?,
                body: m.get_with(key::BODY, |r| Body::read(kind, r))?,
                critical: m.get(key::CRITICAL)?,
                optional: m.get(key::OPTIONAL)?,
            }))
        })?;
        r.finish()?;
        version.map_err(|found| EntryError::Version { found })
    }

    /// The statement to sign with the epoch key `kid`.
    #[must_use]
    pub fn unsigned(&self, kid: KeyId) -> Unsigned {
        Unsigned::new(self.body.kind().typ(), kid, self.to_bytes())
    }
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    /// Larger than an entry may be.
    #[error("entry is {found} bytes, limit is {MAX_ENTRY_BYTES}")]
    TooLarge {
        /// Its size, in bytes.
        found: usize,
    },
    /// Not deterministic CBOR of the right shape.
    #[error("entry is malformed: {0}")]
    Malformed(#[from] CborError),
    /// A type that no entry has.
    #[error("entry has a type that this version does not know")]
    UnknownType,
    /// A later version of the format.
    #[error("entry has format version {found}, this verifier knows {FORMAT_VERSION}")]
    Version {
        /// The entry's version.
        found: u64,
    },
}

/// An entry whose signature is not verified yet.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    bytes: &'a [u8],
    statement: Sign1<'a>,
    payload: Payload,
}

impl<'a> Entry<'a> {
    /// Reads an entry that takes up all of `bytes`.
    ///
    /// # Errors
    /// Why the bytes are not an entry of this format.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLarge { found: bytes.len() });
        }
        let statement = Sign1::parse(bytes)?;
        let kind = Kind::from_typ(statement.typ()).ok_or(EntryError::UnknownType)?;
        let payload = Payload::parse(kind, statement.payload())?;
        Ok(Self {
            bytes,
            statement,
            payload,
        })
    }

    /// The bytes that arrived.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The digest of the bytes that arrived.
    #[must_use]
    pub fn digest(&self) -> EntryDigest {
        entry_digest(self.bytes)
    }

    /// The key that is said to have signed.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.statement.kid()
    }

    /// The bytes that the signature is over.
    #[must_use]
    pub fn to_be_signed(&self) -> Vec<u8> {
        self.statement.to_be_signed()
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.statement.signature()
    }

    /// Where the entry stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.payload.place
    }

    /// What the entry says.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.payload.body
    }

    /// The whole payload.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// What it says, without the bytes.
    #[must_use]
    pub fn into_payload(self) -> Payload {
        self.payload
    }
}
