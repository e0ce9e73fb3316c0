//! Reading an export twice: once to know where calls stand, then in the order of the log.
//!
//! In: a file that can be read from any place. Out: an [`Index`], and entries with what opens
//! them. The file is the auditor's own copy, but two readings are two readings: the root is
//! computed in each and compared with the verified one, and an entry that is read out of order
//! is compared with its digest.

use countersign_gateway::execute::NoAnswer;
use countersign_record::binding::Binding;
use countersign_record::body::{Action, CapabilityRef, ChangeKind};
use countersign_record::bundle::SignedBundle;
use countersign_record::cbor::{Bytes, Cbor as _, Reader};
use countersign_record::commitment::Disclosure;
use countersign_record::digest::{ArtifactDigest, CallId, EntryDigest, GatewayId, NodeHash};
use countersign_record::entry::{Body, Entry, EntryRef};
use countersign_record::export::{
    Artifact, BUNDLE_KIND, ExportError, Frame, Framer, ItemKind, MAGIC, Manifest,
};
use countersign_record::merkle::{Frontier, leaf_hash};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom};
use thiserror::Error;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// How much is read at once where one entry is looked up, in bytes. Most entries with their disclosures are smaller.
const LOOK_BYTES: usize = 16 * 1024;

/// Why an export cannot be read again.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file.
    #[error("the file could not be read: {0}")]
    File(#[from] std::io::Error),
    /// Its form.
    #[error("{0}")]
    Form(#[from] ExportError),
    /// An item of it.
    #[error("the item at byte {offset} is malformed: {reason}")]
    Item {
        /// Where it starts.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// It is not what was verified.
    #[error("the file changed while it was read")]
    Changed,
}

/// A leaf with what opens it.
#[derive(Debug)]
pub struct Leaf {
    /// The bytes of the entry; absent where it is withheld.
    pub entry: Option<Vec<u8>>,
    /// What opens its commitments.
    pub disclosures: Vec<Disclosure>,
    /// Where its item starts in the file.
    pub offset: u64,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Leaf index.
    pub index: u64,
    /// In the file, in bytes.
    pub offset: u64,
    /// Its digest.
    pub digest: EntryDigest,
}

/// A settled call, by where its entries stand.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// How many leaves are folded before its stages run.
    pub basis: u64,
    /// The call.
    pub call: CallId,
    /// Its intent, if anything was to leave.
    pub intent: Option<Spot>,
    /// Its Decision Record.
    pub decision: Spot,
    /// When it was decided, in milliseconds since 1970; 0 for what a restart settled, whose record does not say.
    pub decided: u64,
    /// Tenant and capability, as a small number.
    pub place: u32,
}

/// A call whose settlement was not seen yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    spot: Spot,
    basis: u64,
    place: u32,
}

/// What was in force from an entry on.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The base or change.
    pub entry: EntryRef,
    /// The bundle.
    pub bundle: Option<ArtifactDigest>,
}

/// Where everything stands.
#[derive(Debug, Default)]
pub struct Index {
    /// The gateway.
    pub gateway: Option<GatewayId>,
    /// Settled calls, in order of basis and place.
    pub slots: Vec<Slot>,
    /// Numbers of slots, in order of their first entries.
    pub by_first: Vec<usize>,
    /// Calls without a settlement.
    pub open: u64,
    /// Payloads of bundles.
    pub bundles: HashMap<ArtifactDigest, Vec<u8>>,
    /// Bases and changes, ascending.
    pub in_force: Vec<InForce>,
    /// Decision Records by leaf index: slot numbers.
    pub decisions: HashMap<u64, usize>,
    /// Why the control state cannot be known; absent if the export is the whole log.
    pub partial: Option<String>,
    /// Entries.
    pub entries: u64,
    /// Root over all leaves.
    pub root: Option<NodeHash>,
    places: BTreeMap<(String, String), u32>,
    /// Calls without a settlement: leaf index of the intent, and the place.
    unsettled: Vec<(u64, u32)>,
    /// Entries that concern calls: leaf index, and the latest time until then.
    times: Vec<(u64, u64)>,
    /// Leaf indices of bases, ascending.
    bases: Vec<u64>,
}

impl Slot {
    /// Leaf index of the call's first entry.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.intent.map_or(self.decision.index, |i| i.index)
    }
}

/// Reads items one after another.
#[derive(Debug)]
pub struct Items<R> {
    source: R,
    framer: Framer,
    buffer: Vec<u8>,
    base: u64,
    ended: bool,
}

impl<R: Read + Seek> Items<R> {
    /// From the start of the file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn start(mut source: R) -> Result<Self, ReadError> {
        source.seek(SeekFrom::Start(0))?;
        Ok(Self {
            source,
            framer: Framer::new(),
            buffer: vec![0; READ_BYTES],
            base: 0,
            ended: false,
        })
    }

    /// From the item that starts at this byte.
    fn at(mut source: R, offset: u64) -> Result<Self, ReadError> {
        source.seek(SeekFrom::Start(offset))?;
        let mut framer = Framer::new();
        framer.push(MAGIC);
        let magic = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
        Ok(Self {
            source,
            framer,
            buffer: vec![0; LOOK_BYTES],
            base: offset.saturating_sub(magic),
            ended: false,
        })
    }

    /// The next item; none after the trailer.
    ///
    /// # Errors
    /// If the file cannot be read or is no export.
    pub fn next_item(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(mut frame) = self.framer.next_frame()? {
                frame.offset = frame.offset.saturating_add(self.base);
                return Ok(Some(frame));
            }
            if self.ended {
                self.framer.finish()?;
                return Ok(None);
            }
            let count = match self.source.read(&mut self.buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.ended = count == 0;
            self.framer
                .push(self.buffer.get(..count).unwrap_or_default());
        }
    }
}

/// Reads leaves one after another, each with its disclosures.
#[derive(Debug)]
pub struct Leaves<R> {
    items: Items<R>,
    waiting: Option<Leaf>,
    root: Frontier,
    /// An item stands for more than one leaf.
    others: bool,
    /// Items before the leaves.
    head: Vec<Frame>,
}

impl<R: Read + Seek> Leaves<R> {
    /// From the start of the file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn start(source: R) -> Result<Self, ReadError> {
        Ok(Self {
            items: Items::start(source)?,
            waiting: None,
            root: Frontier::new(),
            others: false,
            head: Vec::new(),
        })
    }

    /// The next leaf.
    ///
    /// # Errors
    /// If the file cannot be read or is no export.
    pub fn next_leaf(&mut self) -> Result<Option<Leaf>, ReadError> {
        while let Some(frame) = self.items.next_item()? {
            let Frame {
                kind,
                content,
                offset,
            } = frame;
            if kind == ItemKind::Disclosures {
                if let Some(leaf) = &mut self.waiting {
                    leaf.disclosures = disclosures(&content, offset)?;
                }
            } else if kind == ItemKind::Entry || kind == ItemKind::Leaf {
                let leaf = self.leaf(kind, content, offset)?;
                if let Some(before) = self.waiting.replace(leaf) {
                    return Ok(Some(before));
                }
            } else if kind == ItemKind::Manifest
                || (kind == ItemKind::Artifact && self.waiting.is_none())
            {
                // What stands among the entries is evidence, which replay does not look at.
                self.head.push(Frame {
                    kind,
                    content,
                    offset,
                });
            } else if kind == ItemKind::Span {
                self.others = true;
            }
        }
        Ok(self.waiting.take())
    }

    fn leaf(&mut self, kind: ItemKind, content: Vec<u8>, offset: u64) -> Result<Leaf, ReadError> {
        let withheld = kind == ItemKind::Leaf;
        let hash = if withheld {
            let bytes = <[u8; 32]>::try_from(content.as_slice());
            NodeHash(bytes.map_err(|_| item(offset, "a leaf is 32 bytes"))?)
        } else {
            leaf_hash(&content)
        };
        self.root.append(hash, |_, _, _| ());
        Ok(Leaf {
            entry: (!withheld).then_some(content),
            disclosures: Vec::new(),
            offset,
        })
    }

    /// Reads one entry and what opens it, wherever it stands, and goes on from where it was.
    ///
    /// # Errors
    /// If it is not the entry that was indexed.
    pub fn look(&mut self, spot: Spot) -> Result<(Vec<u8>, Vec<Disclosure>), ReadError> {
        let here = self.items.source.stream_position()?;
        let found = look(&mut self.items.source, spot);
        self.items.source.seek(SeekFrom::Start(here))?;
        found
    }

    /// Root over the leaves that were read; absent where other items stand for leaves.
    #[must_use]
    pub fn root(&self) -> Option<NodeHash> {
        (!self.others).then(|| self.root.root())
    }
}

/// Reads one entry and what opens it, wherever it stands.
///
/// # Errors
/// If it is not the entry that was indexed.
fn look(source: impl Read + Seek, spot: Spot) -> Result<(Vec<u8>, Vec<Disclosure>), ReadError> {
    let mut items = Items::at(source, spot.offset)?;
    let frame = items.next_item()?.ok_or(ReadError::Changed)?;
    if frame.kind != ItemKind::Entry
        || countersign_record::merkle::entry_digest(&frame.content) != spot.digest
    {
        return Err(ReadError::Changed);
    }
    // The last entry is followed by a checkpoint or the trailer.
    let opened = match items.next_item()? {
        Some(next) if next.kind == ItemKind::Disclosures => {
            disclosures(&next.content, next.offset)?
        }
        Some(_) | None => Vec::new(),
    };
    Ok((frame.content, opened))
}

fn disclosures(content: &[u8], offset: u64) -> Result<Vec<Disclosure>, ReadError> {
    let mut reader = Reader::new(content);
    let out = Vec::read(&mut reader).map_err(|e| item(offset, &e.to_string()))?;
    reader.finish().map_err(|e| item(offset, &e.to_string()))?;
    Ok(out)
}

fn item(offset: u64, reason: &str) -> ReadError {
    ReadError::Item {
        offset,
        reason: reason.to_owned(),
    }
}

impl Index {
    /// Reads an export once.
    ///
    /// # Errors
    /// If it cannot be read, or is not well formed.
    pub fn read(source: impl Read + Seek) -> Result<Self, ReadError> {
        let mut leaves = Leaves::start(source)?;
        let mut this = Self::default();
        let mut sealed: HashMap<CallId, Open> = HashMap::new();
        let mut next = 0u64;
        while let Some(leaf) = leaves.next_leaf()? {
            let Some(bytes) = &leaf.entry else {
                this.part("entries of the log are withheld");
                continue;
            };
            let entry = Entry::parse(bytes).map_err(|e| item(leaf.offset, &e.to_string()))?;
            if entry.place().index != next && this.partial.is_none() {
                this.part(
                    "the export does not begin with the log's first entry, or leaves some out",
                );
            }
            next = entry.place().index.saturating_add(1);
            this.take(&entry, leaf.offset, &mut sealed)?;
        }
        if leaves.others {
            this.part("entries of the log are withheld");
        }
        this.root = leaves.root();
        this.open = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
        this.unsettled = sealed.values().map(|o| (o.spot.index, o.place)).collect();
        for frame in std::mem::take(&mut leaves.head) {
            this.head(&frame)?;
        }
        this.sort();
        Ok(this)
    }

    fn part(&mut self, why: &str) {
        self.partial.get_or_insert_with(|| why.to_owned());
    }

    fn head(&mut self, frame: &Frame) -> Result<(), ReadError> {
        let malformed = |e: countersign_record::cbor::CborError| item(frame.offset, &e.to_string());
        if frame.kind == ItemKind::Manifest {
            self.gateway = Some(
                Manifest::from_bytes(&frame.content)
                    .map_err(malformed)?
                    .gateway,
            );
            return Ok(());
        }
        let artifact = Artifact::from_bytes(&frame.content).map_err(malformed)?;
        if artifact.kind == BUNDLE_KIND {
            self.bundles.insert(artifact.digest(), artifact.bytes.0);
        }
        Ok(())
    }

    fn take(
        &mut self,
        entry: &Entry<'_>,
        offset: u64,
        sealed: &mut HashMap<CallId, Open>,
    ) -> Result<(), ReadError> {
        self.entries = self.entries.saturating_add(1);
        let spot = Spot {
            index: entry.place().index,
            offset,
            digest: entry.digest(),
        };
        let at = EntryRef {
            index: spot.index,
            digest: spot.digest,
        };
        let before = self.in_force.last().and_then(|i| i.bundle);
        if matches!(
            entry.body(),
            Body::Intent(_) | Body::Decision(_) | Body::Approval(_)
        ) {
            let latest = self.times.last().map_or(0, |(_, at)| *at);
            self.times
                .push((spot.index, latest.max(entry.place().at.0)));
        }
        if let Body::Base(base) = entry.body() {
            let binding =
                Binding::from_bytes(&base.binding.0).map_err(|e| item(offset, &e.to_string()))?;
            self.bases.push(spot.index);
            self.in_force.push(InForce {
                entry: at,
                bundle: binding.bundles.first().copied(),
            });
        } else if let Body::Change(change) = entry.body() {
            let bundle = if change.kind == ChangeKind::Bundle {
                Some(change.digest)
            } else {
                before
            };
            self.in_force.push(InForce { entry: at, bundle });
        } else if let Body::Intent(intent) = entry.body() {
            let capability = Action::from_bytes(&intent.action.0)
                .ok()
                .map(|a| a.capability);
            let open = Open {
                spot,
                basis: intent.basis,
                place: self.place(entry, capability.as_ref()),
            };
            sealed.insert(intent.call, open);
        } else if let Body::Decision(decision) = entry.body() {
            let intent = decision
                .intent
                .as_ref()
                .and_then(|_| sealed.remove(&decision.call));
            let place = self.place(entry, decision.capability.as_ref());
            let restarted = decision.cancelled.as_deref() == Some(NoAnswer::Restarted.name());
            self.decisions.insert(spot.index, self.slots.len());
            self.slots.push(Slot {
                // Where the state was not asked, any will do; what is in force is that of the record's place.
                basis: intent
                    .as_ref()
                    .map(|open| open.basis)
                    .or(decision.basis)
                    .unwrap_or(spot.index),
                call: decision.call,
                intent: intent.map(|open| open.spot),
                decision: spot,
                decided: if restarted {
                    0
                } else {
                    decision.times.decided.0
                },
                place,
            });
        }
        Ok(())
    }

    /// Tenant and capability as a small number.
    fn place(&mut self, entry: &Entry<'_>, capability: Option<&CapabilityRef>) -> u32 {
        let tenant = entry.place().tenant.as_ref();
        let key = (
            tenant.map_or(String::new(), |t| t.tenant.to_string()),
            capability.map_or(String::new(), |c| c.id.clone()),
        );
        let count = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        *self.places.entry(key).or_insert(count)
    }

    fn sort(&mut self) {
        self.slots.sort_by_key(|s| (s.basis, s.decision.index));
        self.decisions = self
            .slots
            .iter()
            .enumerate()
            .map(|(number, s)| (s.decision.index, number))
            .collect();
        self.by_first = (0..self.slots.len()).collect();
        let slots = &self.slots;
        self.by_first
            .sort_by_key(|n| slots.get(*n).map(Slot::first));
    }

    /// What was in force at an entry of this place.
    #[must_use]
    pub fn in_force_at(&self, index: u64) -> Option<&InForce> {
        let after = self.in_force.partition_point(|i| i.entry.index < index);
        after.checked_sub(1).and_then(|n| self.in_force.get(n))
    }

    /// The least basis that an honest gateway can have had: it has folded the log when its epoch opens, and each entry
    /// of a call as soon as that is durable.
    #[must_use]
    pub fn least_basis(&self, slot: &Slot) -> u64 {
        let first = slot.first();
        let bases = self.bases.partition_point(|base| *base < first);
        let base = bases.checked_sub(1).and_then(|n| self.bases.get(n));
        let old = self
            .times
            .partition_point(|(_, at)| at.saturating_add(LAG_MILLIS) < slot.decided);
        let entry = old
            .checked_sub(1)
            .and_then(|n| self.times.get(n))
            .map(|(index, _)| index);
        let after = |index: Option<&u64>| index.map_or(0, |i| i.saturating_add(1));
        after(base).max(after(entry).min(first))
    }

    /// How many other calls of the same tenant and capability can have been under way when a call was decided, as far
    /// as `wanted`: their first entries stand behind its basis, and they were not decided after it.
    #[must_use]
    pub fn under_way(&self, of: &Slot, wanted: u64) -> u64 {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let first = |n: &usize| self.slots.get(*n).map_or(u64::MAX, Slot::first);
        let from = self.by_first.partition_point(|n| first(n) < of.basis);
        let near = self
            .by_first
            .iter()
            .skip(from)
            .take(MOST_UNDER_WAY)
            .filter_map(|n| self.slots.get(*n))
            .filter(|s| s.place == of.place && s.call != of.call && s.decided <= of.decided)
            .map(|_| ());
        let open = self
            .unsettled
            .iter()
            .filter(|(index, place)| *index >= of.basis && *place == of.place)
            .map(|_| ());
        let found = near.chain(open).take(wanted).count();
        u64::try_from(found).unwrap_or(u64::MAX)
    }
}

/// How long an entry may take from its claimed time until it is folded (60 s).
///
/// The way into the log takes milliseconds; a clock may step by as much before calls are refused.
const LAG_MILLIS: u64 = 60_000;

/// Calls whose entries can stand between a call's basis and those of calls that were decided before it.
const MOST_UNDER_WAY: usize = 16_384;

/// The payload of a bundle as an unsigned bundle's bytes.
#[must_use]
pub fn unsigned(payload: &[u8]) -> Vec<u8> {
    SignedBundle {
        payload: Bytes(payload.to_vec()),
        signatures: Vec::new(),
    }
    .to_bytes()
}
