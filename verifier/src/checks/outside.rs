//! Outside clocks: what they saw of the log, against the times that entries claim.
//!
//! In: claimed times as they go by; checkpoints that were judged, with timestamps after them; and
//! cosignatures, which say a time too. Out: observations of `outside-time`, and before when how many
//! entries existed. An outside clock bounds times from above only: it shows that entries are not
//! younger, never that they are not older. A timestamp does not show that the log is the only one;
//! that is the witnesses' part.
//!
//! A checkpoint stands where its last entry does, so what is claimed below it is what was read so
//! far. Relies on `countersign-timestamps` for tokens.

use super::{At, Checks};
use crate::codes::Code;
use crate::report::SeenBy;
use crate::time::{format as time, span};
use countersign_record::checkpoint::Checkpoint;
use countersign_record::digest::UnixMillis;
use countersign_record::export::Timestamp;
use countersign_timestamps::{Imprint, TimestampError, Token};
use std::collections::BTreeMap;

/// How far an outside clock may run behind the gateway's, in milliseconds. Clocks that are kept by others differ by less.
const MAX_CLOCK_SKEW_MILLIS: u64 = 60_000;

/// What outside clocks saw so far.
#[derive(Debug, Default)]
pub(super) struct Outside {
    first: Option<UnixMillis>,
    newest: Option<Claim>,
    /// The checkpoint that a timestamp would be over.
    under: Option<Under>,
    sightings: Vec<Recorded>,
    /// How many of the sightings know what follows them.
    followed: usize,
    /// Whose clocks.
    names: Vec<String>,
}

/// What an entry claims.
#[derive(Debug, Clone, Copy)]
struct Claim {
    at: UnixMillis,
    index: u64,
}

#[derive(Debug)]
struct Under {
    size: u64,
    imprint: [u8; 32],
    standing: Standing,
}

/// What is known of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is signed by both keys, the entries before it lead to its root, and it covers exactly those.
    Here,
    /// Not that, or it was not compared.
    Unknown,
}

/// An outside clock's word about the log as it was read so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting<'a> {
    /// All entries up to here existed before this time.
    pub(super) before: UnixMillis,
    /// Whose clock.
    pub(super) by: &'a str,
}

#[derive(Debug, Clone, Copy)]
struct Recorded {
    entries: u64,
    before: UnixMillis,
    /// Place among the names.
    by: usize,
    /// What the first entry after it claims.
    next: Option<UnixMillis>,
}

/// Entries up to a size that was seen.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    end: u64,
    /// They existed before this time.
    before: UnixMillis,
    /// What the first entry after them claims.
    next: Option<UnixMillis>,
}

impl Outside {
    /// An entry's claimed time, in order.
    pub(super) fn claimed(&mut self, at: At) {
        let claim = Claim {
            at: at.time,
            index: at.index,
        };
        self.first.get_or_insert(claim.at);
        if self.newest.is_none_or(|n| n.at < claim.at) {
            self.newest = Some(claim);
        }
        for sighting in self.sightings.iter_mut().skip(self.followed) {
            sighting.next = Some(claim.at);
        }
        self.followed = self.sightings.len();
    }

    /// Bytes that are to be a checkpoint; nothing is known of them.
    pub(super) fn no_checkpoint(&mut self) {
        self.under = None;
    }

    /// A checkpoint of this log, by its own word.
    pub(super) fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.under = Some(Under {
            size: checkpoint.head().size,
            imprint: checkpoint.imprint(),
            standing: Standing::Unknown,
        });
    }

    /// The checkpoint turned out to be this log's own, over all entries up to here.
    pub(super) fn stands_here(&mut self) {
        if let Some(under) = &mut self.under {
            under.standing = Standing::Here;
        }
    }

    /// Whether an outside clock stands behind some times.
    pub(super) fn saw_any(&self) -> bool {
        !self.sightings.is_empty()
    }

    /// Those whose clocks were relied on.
    pub(super) fn party(&self) -> Option<String> {
        (!self.names.is_empty()).then(|| {
            format!(
                "whoever runs the clocks of {}: they tell the time truthfully",
                self.names.join(", ")
            )
        })
    }

    /// Sizes that were seen, rising, each with the earliest time before which that many entries
    /// existed: who saw more entries saw fewer.
    fn stretches(&self) -> Vec<Stretch> {
        let mut sizes: BTreeMap<u64, Stretch> = BTreeMap::new();
        for sighting in &self.sightings {
            let known = sizes.entry(sighting.entries).or_insert(Stretch {
                end: sighting.entries,
                before: sighting.before,
                next: sighting.next,
            });
            known.before = sighting.before.min(known.before);
        }
        let mut earliest = UnixMillis(u64::MAX);
        for stretch in sizes.values_mut().rev() {
            earliest = earliest.min(stretch.before);
            stretch.before = earliest;
        }
        sizes.into_values().collect()
    }

    /// For each clock the sighting of the most entries, and of these the earliest.
    fn by_name(&self) -> Vec<SeenBy> {
        let mut out: Vec<SeenBy> = Vec::new();
        for (place, name) in self.names.iter().enumerate() {
            let most = self
                .sightings
                .iter()
                .filter(|s| s.by == place)
                .max_by_key(|s| (s.entries, std::cmp::Reverse(s.before)));
            out.extend(most.map(|s| SeenBy {
                entries: s.entries,
                before: s.before.0,
                by: name.clone(),
            }));
        }
        out
    }
}

impl Checks<'_> {
    /// A timestamp after the last checkpoint.
    pub(crate) fn timestamp(&mut self, timestamp: &Timestamp) {
        self.items.timestamps = self.items.timestamps.saturating_add(1);
        let Timestamp { size, token } = timestamp;
        let Some(under) = &self.outside.under else {
            let text = "a timestamp stands after a checkpoint that cannot be read";
            return self.ledger.skipped(Code::OutsideTime, None, text);
        };
        if under.size != *size {
            let text = format!(
                "a timestamp is said to be over {size} entries, and stands after a checkpoint over {}",
                under.size
            );
            return self.ledger.fail(Code::OutsideTime, None, text);
        }
        if under.standing != Standing::Here {
            let text = format!(
                "the timestamp over {size} entries is over a checkpoint that was not shown to be this log's at its place"
            );
            return self.ledger.skipped(Code::OutsideTime, None, text);
        }
        let clocks = &self.trust.clocks;
        let judged = Token::parse(&token.0)
            .and_then(|t| t.verify(Imprint(under.imprint), clocks.authorities()));
        match judged {
            Ok(stamped) => self.seen_outside(Sighting {
                before: UnixMillis(stamped.latest_ms()),
                by: clocks.name(stamped.authority()),
            }),
            Err(TimestampError::NobodyKnown) => {
                let text = format!(
                    "the timestamp over {size} entries is of no authority that your trust file names"
                );
                self.ledger.skipped(Code::OutsideTime, None, text);
            }
            Err(error) => {
                let text = format!("the timestamp over {size} entries does not hold: {error}");
                self.ledger.fail(Code::OutsideTime, None, text);
            }
        }
    }

    /// Compares what entries up to here claim with an outside clock that saw them.
    pub(super) fn seen_outside(&mut self, sighting: Sighting<'_>) {
        let Sighting { before, by } = sighting;
        let limit = before.0.saturating_add(MAX_CLOCK_SKEW_MILLIS);
        match self.outside.newest.filter(|claim| claim.at.0 > limit) {
            Some(claim) => {
                let text = format!(
                    "it claims {}, and {by} saw it before {}",
                    time(claim.at),
                    time(before)
                );
                self.ledger.fail(Code::OutsideTime, Some(claim.index), text);
            }
            None => self.ledger.held(Code::OutsideTime),
        }
        let known = self.outside.names.iter().position(|name| name == by);
        let by = known.unwrap_or_else(|| {
            self.outside.names.push(by.to_owned());
            self.outside.names.len().saturating_sub(1)
        });
        self.outside.sightings.push(Recorded {
            entries: self.log.position(),
            before,
            by,
            next: None,
        });
    }

    /// What can be said of outside clocks at the end.
    pub(super) fn outside_end(&mut self) {
        self.unseen();
        self.subject.seen_by = self.outside.by_name();
        let said: Vec<String> = self
            .subject
            .seen_by
            .iter()
            .map(|s| {
                let before = time(UnixMillis(s.before));
                format!(
                    "the first {} entries existed before {before}, says {}",
                    s.entries, s.by
                )
            })
            .collect();
        if !said.is_empty() {
            self.ledger.note(Code::OutsideTime, said.join("; "));
        } else if self.items.timestamps == 0 {
            let text = "no outside clock stands behind the times; they are the gateway's claims";
            self.ledger.skipped(Code::OutsideTime, None, text);
        }
    }

    /// Stretches of the log that no outside clock saw for longer than the auditor allows.
    fn unseen(&mut self) {
        let Some(seconds) = self.trust.log.max_unseen_seconds else {
            return;
        };
        let limit = seconds.saturating_mul(1000);
        let (mut from, mut next) = (0, self.outside.first);
        for stretch in self.outside.stretches() {
            let lag = stretch
                .before
                .0
                .saturating_sub(next.unwrap_or(stretch.before).0);
            if lag > limit {
                let text = format!(
                    "no outside clock saw the log for {} from here on, {seconds} s are allowed",
                    span(lag)
                );
                self.ledger.fail(Code::OutsideTime, Some(from), text);
            }
            (from, next) = (stretch.end, stretch.next);
        }
        let newest = self.outside.newest.map(|c| c.at.0);
        let lag = next
            .zip(newest)
            .map_or(0, |(next, newest)| newest.saturating_sub(next.0));
        if lag > limit {
            let text = format!(
                "no outside clock saw the log from here to its end, {} later; {seconds} s are allowed",
                span(lag)
            );
            self.ledger.fail(Code::OutsideTime, Some(from), text);
        }
    }
}
