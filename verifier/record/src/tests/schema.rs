//! The declared fields of every type, and values made from them by code that shares nothing with `Cbor::write` but heads.

use crate::binding::{Binding, CloseStatement, FreshStatement, LogHead, Profile, RenewalStatement};
use crate::body::call::{Correlation, Plan, Probe};
use crate::body::{
    AbandonedOpening, Action, Adopt, Approval, Base, Caller, CapabilityRef, Change, ChangeKind,
    Classification, Close, Decision, Effect, Enrol, Erasure, Event, EventKind, EvidenceRef, Gap,
    Handling, Intent, Lineage, Mode, PolicyOutcome, Renewal, RunClosed, TenantHead, TenantProof,
    Times, Trace, Verdict,
};
use crate::body::{Hold, HoldAct, IndexRange};
use crate::body::{Stop, StopAct};
use crate::bundle::{
    AgentEntry, ApproverEntry, BundlePayload, BundleStatement, Registry, SignedBundle, TenantEntry,
};
use crate::cbor::{Cbor, CborError, Writer};
use crate::channel::ChannelStatement;
use crate::claims::{CallerClaims, Principal, PrincipalChain, TokenClaims};
use crate::commitment::{CallerProof, Disclosure, Field};
use crate::egress::{EgressConnection, EgressConnections};
use crate::entry::{EntryRef, Kind, Place, RunPlace, TenantPlace};
use crate::evidence::{
    Endorsement, EndorsementKind, PcrValue, PlatformEvidence, PlatformKey, TpmEvidence,
};
use crate::export::{Artifact, ItemKind, Manifest, Period, Scope, Span, Timestamp, Trailer};
use crate::profile::Disclosed;
use crate::receipt::Receipt;
use crate::statement::{
    AdoptStatement, ApprovalStatement, Choice, ErasureStatement, FleetMember, FleetStatement,
    HoldStatement, RecoverStatement, StopStatement, Stored,
};

/// A declared map.
pub(super) struct Map {
    pub(super) name: &'static str,
    pub(super) fields: &'static [(i64, &'static str)],
    pub(super) types: &'static [&'static str],
    /// Reads a whole value and writes it again.
    pub(super) rewrite: fn(&[u8]) -> Result<Vec<u8>, CborError>,
}

/// A declared enum: name, then number and word of each value.
pub(super) struct Enum {
    pub(super) name: &'static str,
    pub(super) values: Vec<(u64, &'static str)>,
}

fn rewrite<T: Cbor>(bytes: &[u8]) -> Result<Vec<u8>, CborError> {
    T::from_bytes(bytes).map(|value| value.to_bytes())
}

macro_rules! maps {
    ($($t:ident),* $(,)?) => { &[$(Map {
        name: stringify!($t), fields: $t::FIELDS, types: $t::TYPES, rewrite: rewrite::<$t>,
    }),*] };
}
macro_rules! enums {
    ($($t:ident),* $(,)?) => { vec![$(Enum {
        name: stringify!($t), values: $t::ALL.iter().map(|v| (v.code(), v.name())).collect(),
    }),*] };
}

/// Every map of the format, in the order of the CDDL.
pub(super) const MAPS: &[Map] = maps![
    EntryRef,
    TenantPlace,
    RunPlace,
    Place,
    Enrol,
    EvidenceRef,
    AbandonedOpening,
    Base,
    LogHead,
    Renewal,
    Close,
    Adopt,
    Gap,
    TenantHead,
    TenantProof,
    Caller,
    CapabilityRef,
    PolicyOutcome,
    Lineage,
    Trace,
    Handling,
    Action,
    Intent,
    Approval,
    Times,
    Decision,
    Plan,
    Probe,
    Correlation,
    RunClosed,
    Change,
    Event,
    Stop,
    IndexRange,
    Erasure,
    Hold,
    Binding,
    RenewalStatement,
    CloseStatement,
    FreshStatement,
    PcrValue,
    TpmEvidence,
    Endorsement,
    PlatformKey,
    PlatformEvidence,
    Disclosure,
    CallerProof,
    TokenClaims,
    CallerClaims,
    Principal,
    PrincipalChain,
    EgressConnection,
    EgressConnections,
    FleetMember,
    FleetStatement,
    ApprovalStatement,
    RecoverStatement,
    AdoptStatement,
    ErasureStatement,
    HoldStatement,
    StopStatement,
    Receipt,
    ChannelStatement,
    TenantEntry,
    AgentEntry,
    ApproverEntry,
    Registry,
    BundlePayload,
    BundleStatement,
    SignedBundle,
    Disclosed,
    Period,
    Manifest,
    Span,
    Artifact,
    Timestamp,
    Trailer,
];

/// Every enum of the format, in the order of the CDDL.
pub(super) fn enums() -> Vec<Enum> {
    enums![
        Kind,
        Verdict,
        Effect,
        Mode,
        Classification,
        ChangeKind,
        EventKind,
        StopAct,
        HoldAct,
        Profile,
        EndorsementKind,
        Field,
        Choice,
        Stored,
        Scope,
        ItemKind
    ]
}

/// Byte strings of one length that have a type of their own, with that length.
pub(super) const FIXED: &[(&str, usize)] = &[
    ("EntryDigest", 32),
    ("NodeHash", 32),
    ("ArtifactDigest", 32),
    ("Commitment", 32),
    ("PublicKey", 32),
    ("KeyId", 32),
    ("GatewayId", 32),
    ("ActionDigest", 32),
    ("CallId", 16),
    ("RunId", 16),
    ("TenantId", 16),
    ("SubjectId", 32),
    ("Salt", 16),
    ("Qualifying", 32),
    ("Anchor", 64),
    ("Signature", 64),
    ("Nonce", 32),
    ("ChannelBinding", 32),
];

/// What a byte string of a field holds.
pub(super) enum Inside {
    /// An encoded map.
    Map(&'static str),
    /// A signed statement over an encoded map.
    Signed(&'static str),
}

/// Fields that are byte strings and hold an encoding.
pub(super) fn inside(map: &str, field: &str) -> Option<Inside> {
    Some(match (map, field) {
        ("Base", "binding") => Inside::Map("Binding"),
        ("Intent", "action") => Inside::Map("Action"),
        ("Renewal", "statement") => Inside::Map("RenewalStatement"),
        ("Close", "statement") => Inside::Map("CloseStatement"),
        ("SignedBundle", "payload") => Inside::Map("BundlePayload"),
        ("SignedBundle", "signatures") => Inside::Signed("BundleStatement"),
        ("Enrol", "statement") => Inside::Signed("FleetStatement"),
        ("Gap", "statement") => Inside::Signed("RecoverStatement"),
        ("Adopt", "statement") => Inside::Signed("AdoptStatement"),
        _ => return None,
    })
}

/// The map of that name.
pub(super) fn map(name: &str) -> Option<&'static Map> {
    MAPS.iter().find(|m| m.name == name)
}

/// The body's map of a kind of entry.
pub(super) fn body_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Enrol => "Enrol",
        Kind::Base => "Base",
        Kind::Intent => "Intent",
        Kind::Decision => "Decision",
        Kind::Approval => "Approval",
        Kind::Run => "RunClosed",
        Kind::Change => "Change",
        Kind::Event => "Event",
        Kind::Renewal => "Renewal",
        Kind::Adopt => "Adopt",
        Kind::Gap => "Gap",
        Kind::Erasure => "Erasure",
        Kind::Close => "Close",
        Kind::Hold => "Hold",
        Kind::Stop => "Stop",
    }
}

/// A field's type without its path and spaces, as in `Option<Bytes>`.
pub(super) fn plain(ty: &str) -> String {
    let ty: String = ty.chars().filter(|c| !c.is_whitespace()).collect();
    for outer in ["Option<", "Vec<"] {
        if let Some(inner) = ty.strip_prefix(outer).and_then(|t| t.strip_suffix('>')) {
            return format!("{outer}{}>", plain(inner));
        }
    }
    if ty.starts_with('[') {
        ty
    } else {
        ty.rsplit("::").next().unwrap_or_default().to_owned()
    }
}

/// What is inside `Option<…>` or `Vec<…>`.
pub(super) fn inner<'a>(outer: &str, ty: &'a str) -> Option<&'a str> {
    ty.strip_prefix(outer)?.strip_prefix('<')?.strip_suffix('>')
}

/// Where the choices of a made-up value come from.
pub(super) enum Choices<'a> {
    /// Everything optional is there, arrays have one item, numbers and bytes count up.
    Full(u64),
    /// Whatever these bytes say; zeros after their end.
    From(std::slice::Iter<'a, u8>),
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        match self {
            Self::Full(n) => {
                *n += 1;
                *n as u8
            }
            Self::From(bytes) => bytes.next().copied().unwrap_or(0),
        }
    }
    fn present(&mut self) -> bool {
        matches!(self, Self::Full(_)) || self.byte() & 1 == 1
    }
    fn count(&mut self) -> usize {
        if matches!(self, Self::Full(_)) {
            1
        } else {
            usize::from(self.byte() % 4)
        }
    }
    fn number(&mut self) -> u64 {
        if matches!(self, Self::Full(_)) {
            return u64::from(self.byte());
        }
        // All widths of a head are equally likely.
        let width = [1, 1, 2, 4, 8][usize::from(self.byte() % 5)];
        (0..width).fold(0, |n, _| n << 8 | u64::from(self.byte()))
    }
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let first = self.byte();
        if matches!(self, Self::Full(_)) {
            vec![first; n]
        } else {
            (0..n).map(|_| self.byte()).collect()
        }
    }
}

/// Appends a made-up map.
pub(super) fn write_map(name: &str, c: &mut Choices<'_>, w: &mut Writer) {
    let map = map(name).unwrap_or_else(|| panic!("{name} is not in the list of maps"));
    let present: Vec<bool> = map
        .types
        .iter()
        .map(|t| inner("Option", &plain(t)).is_none() || c.present())
        .collect();
    w.map(present.iter().filter(|p| **p).count());
    for (((key, field), ty), present) in map.fields.iter().zip(map.types).zip(present) {
        if present {
            w.int(*key);
            let ty = plain(ty);
            write_value(field, inner("Option", &ty).unwrap_or(&ty), c, w);
        }
    }
}

fn write_value(field: &str, ty: &str, c: &mut Choices<'_>, w: &mut Writer) {
    if let Some(item) = inner("Vec", ty) {
        let n = c.count();
        w.array(n);
        return (0..n).for_each(|_| write_value(field, item, c, w));
    }
    if let Some(n) = ty.strip_prefix("[u8;").and_then(|t| t.strip_suffix(']')) {
        return w.bytes(&c.bytes(n.parse().unwrap()));
    }
    if let Some((_, n)) = FIXED.iter().find(|(name, _)| *name == ty) {
        return w.bytes(&c.bytes(*n));
    }
    if let Some(e) = enums().iter().find(|e| e.name == ty) {
        return w.uint(e.values[usize::from(c.byte()) % e.values.len()].0);
    }
    match ty {
        "u64" | "UnixMillis" => w.uint(c.number()),
        "u8" => w.uint(u64::from(c.byte())),
        "bool" => w.boolean(c.present()),
        "Bytes" => {
            let n = c.count();
            w.bytes(&c.bytes(n));
        }
        "String" if matches!(c, Choices::Full(_)) => w.text(field),
        "String" => {
            let n = c.count();
            w.text(
                &c.bytes(n)
                    .iter()
                    .map(|b| char::from(*b))
                    .collect::<String>(),
            );
        }
        other => write_map(other, c, w),
    }
}

/// A made-up map.
pub(super) fn made_up(name: &str, c: &mut Choices<'_>) -> Vec<u8> {
    let mut w = Writer::new();
    write_map(name, c, &mut w);
    w.into_bytes()
}

/// A made-up payload of an entry.
pub(super) fn made_up_payload(kind: Kind, c: &mut Choices<'_>) -> Vec<u8> {
    let extensions = [(-1, c.present()), (-2, c.present())];
    let mut w = Writer::new();
    w.map(3 + extensions.iter().filter(|(_, present)| *present).count());
    w.int(1);
    w.uint(1);
    w.int(2);
    write_map("Place", c, &mut w);
    w.int(3);
    write_map(body_of(kind), c, &mut w);
    for (key, present) in extensions {
        if present {
            w.int(key);
            let n = 1 + c.count();
            w.map(n);
            let mut last = 0;
            for _ in 0..n {
                last += 1 + u64::from(c.byte());
                w.uint(last);
                w.bytes(&c.bytes(2));
            }
        }
    }
    w.into_bytes()
}

/// A value with everything in it.
pub(crate) fn full<T: Cbor>(name: &str) -> T {
    T::from_bytes(&made_up(name, &mut Choices::Full(0))).unwrap()
}

/// Names after a word in the sources, such as `pub struct` inside `cbor_map!`.
fn declared(opening: &str, word: &str) -> Vec<String> {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = Vec::new();
    for path in crate::testdata::files(&source) {
        let text = std::fs::read_to_string(path).unwrap();
        for block in text.split(opening).skip(1) {
            let name = block.split(word).nth(1).unwrap_or_default();
            names.push(name.chars().take_while(|c| c.is_alphanumeric()).collect());
        }
    }
    names.sort();
    names
}

#[test]
fn the_list_of_types_is_complete() {
    let mut maps: Vec<_> = MAPS.iter().map(|m| m.name.to_owned()).collect();
    maps.sort();
    assert_eq!(maps, declared("\ncbor_map! {", "pub struct "));
    let mut enums: Vec<_> = enums().iter().map(|e| e.name.to_owned()).collect();
    enums.sort();
    assert_eq!(enums, declared("\ncbor_enum! {", "pub enum "));
}

#[test]
fn the_keys_of_every_map_ascend_as_their_encodings_do() {
    for map in MAPS {
        assert!(
            map.fields
                .windows(2)
                .all(|w| 0 <= w[0].0 && w[0].0 < w[1].0),
            "{}",
            map.name
        );
    }
}

#[test]
fn no_two_values_of_an_enum_share_a_number_or_a_word() {
    for e in enums() {
        for (i, a) in e.values.iter().enumerate() {
            assert!(
                e.values[i + 1..].iter().all(|b| a.0 != b.0 && a.1 != b.1),
                "{}",
                e.name
            );
        }
    }
}
