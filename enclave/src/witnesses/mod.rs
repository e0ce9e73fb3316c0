//! Witnesses: independent programs that cosign this log's checkpoints, so that it has one history.
//!
//! In: the growing log, calls that must not leave unseen. Out: cosigned checkpoints beside the
//! log, the size that a quorum has seen, word of witnesses that know better.
//!
//! | when | what |
//! |---|---|
//! | before an epoch opens | every witness is [`ask`]ed what it has signed: more than the disk has, or another history, and the gateway starts held |
//! | while entries arrive, at most once a second | a checkpoint goes to every witness that is not busy |
//! | a call under `witnessed` waits | at once; calls that wait share one checkpoint |
//! | the epoch is closed | the last checkpoint goes out, once |
//!
//! A witness that does not answer delays nothing but calls that wait for it. It is asked less and
//! less often, and an `event` counts what was not done. Decision 0012 says what is believed of whom.

mod courier;

pub use courier::{Courier, Seen, Submission, Trouble};

use crate::boot::{Opened, tracing_line};
use crate::serve::Gateway;
use countersign_gateway::seal::CosignedSize;
use countersign_journal::{Cosigned, Journal, Keep};
use countersign_policies::site::settings::{Standing, WitnessRule, WitnessSettings};
use countersign_record::checkpoint::{note_text, origin, signature_line};
use countersign_record::note::UnixSeconds;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Time between two checkpoints that nobody waits for.
const ROUND: Duration = Duration::from_secs(1);

/// Longest pause after which a witness that failed is asked again, in milliseconds.
const MAX_PAUSE_MILLIS: u64 = 60_000;

/// Shortest such pause, in milliseconds; it doubles with each failure in a row.
const MIN_PAUSE_MILLIS: u64 = 1000;

/// A witness that knows what the disk does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its name.
    pub witness: String,
    /// How many entries it has signed.
    pub size: u64,
}

/// What witnesses said before the epoch opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The largest log that the disk does not continue.
    pub conflict: Option<Conflict>,
    /// How many gave no usable answer.
    pub silent: u64,
    /// What each is known to have signed, in the order of the settings.
    known: Vec<u64>,
}

/// Asks every witness what it has signed of this log, by submitting the head that the disk has.
///
/// The head is signed by the identity key alone; no epoch is open yet. So it is good for this and nothing else.
pub async fn ask(opened: &Opened) -> Asked {
    let Opened {
        settings,
        vault,
        journal,
        found,
        ..
    } = opened;
    let gateway = opened.gateway();
    let text = note_text(&gateway, &found.head);
    let line = signature_line(
        &origin(&gateway),
        &opened.identity(),
        &vault.sign(text.as_bytes()),
    );
    let note: Arc<str> = format!("{text}\n{line}").into();
    let mut asking = JoinSet::new();
    for (place, witness) in settings.witnesses.iter().enumerate() {
        let courier = Courier::new(witness.clone(), settings.witness_rule.wait);
        let (journal, note) = (Arc::clone(journal), Arc::clone(&note));
        asking.spawn(async move {
            let submission = Submission {
                note: &note,
                proofs: |old, new| journal.consistency(old, new).ok(),
            };
            (place, courier.submit(&submission, 0).await)
        });
    }
    let mut asked = Asked {
        known: vec![0; settings.witnesses.len()],
        ..Asked::default()
    };
    while let Some(answer) = asking.join_next().await {
        let Ok((place, answer)) = answer else {
            asked.silent = asked.silent.saturating_add(1);
            continue;
        };
        let name = settings.witnesses.get(place).map_or("", |w| w.key.name());
        match answer {
            Ok(Seen { size, .. }) => {
                if let Some(known) = asked.known.get_mut(place) {
                    *known = size;
                }
            }
            Err(Trouble::Ahead(size) | Trouble::OtherHistory(size)) => {
                let larger = asked.conflict.as_ref().is_none_or(|c| c.size < size);
                if larger {
                    asked.conflict = Some(Conflict {
                        witness: name.to_owned(),
                        size,
                    });
                }
            }
            Err(trouble) => {
                tracing_line(&format!("witness {name} {trouble}"));
                asked.silent = asked.silent.saturating_add(1);
            }
        }
    }
    asked
}

/// What is known of a witness.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Entries that it has signed, as far as it said.
    size: u64,
    /// Size and time of its last cosignature in this epoch.
    cosigned: Option<(u64, UnixSeconds)>,
    /// Whether a submission is under way.
    busy: bool,
    /// When it was tried last, in milliseconds since the start.
    tried: u64,
    /// Failures in a row.
    row: u32,
    /// Failures in this epoch.
    failures: u64,
    /// The last of them.
    trouble: Option<Trouble>,
}

impl Known {
    /// Whether it may be tried at `now`; one that failed rests, but less long while a call waits.
    fn rested(&self, now: u64, awaited: bool) -> bool {
        let pause = match self.row.checked_sub(1) {
            None => 0,
            Some(_) if awaited => MIN_PAUSE_MILLIS,
            Some(times) => 1u64
                .checked_shl(times)
                .unwrap_or(u64::MAX)
                .saturating_mul(MIN_PAUSE_MILLIS)
                .min(MAX_PAUSE_MILLIS),
        };
        now.saturating_sub(self.tried) >= pause
    }
}

/// The witnesses of a running gateway.
pub struct Witnesses {
    couriers: Vec<Arc<Courier>>,
    rule: WitnessRule,
    known: Mutex<Vec<Known>>,
    /// Size that a quorum of independent organisations has signed.
    seen: watch::Sender<u64>,
    wake: Notify,
    waiting: Arc<()>,
    /// What was not done since it was last written into the log.
    failures: AtomicU64,
    /// When a checkpoint was last kept for good, in milliseconds since the start.
    kept: AtomicU64,
    interval: Duration,
}

/// A call that will wait for witnesses. Made before its intent is appended, so that every checkpoint that can serve it is kept.
#[must_use = "a checkpoint is kept for a call only while the call is expected"]
pub struct Expected(#[expect(dead_code, reason = "it counts by being there")] Arc<()>);

impl Witnesses {
    /// Before the first checkpoint of an epoch. A checkpoint is kept for good once in each `interval`.
    #[must_use]
    pub fn new(
        settings: Vec<WitnessSettings>,
        rule: WitnessRule,
        asked: Asked,
        interval: Duration,
    ) -> Self {
        let Asked {
            conflict: _,
            silent,
            known: sizes,
        } = asked;
        let known = sizes
            .into_iter()
            .chain(std::iter::repeat(0))
            .take(settings.len())
            .map(|size| Known {
                size,
                ..Known::default()
            })
            .collect();
        Self {
            couriers: settings
                .into_iter()
                .map(|s| Arc::new(Courier::new(s, rule.wait)))
                .collect(),
            rule,
            known: Mutex::new(known),
            seen: watch::Sender::new(0),
            wake: Notify::new(),
            waiting: Arc::new(()),
            failures: AtomicU64::new(silent),
            kept: AtomicU64::new(0),
            interval,
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        // A panic while it was held would leave what was known before.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest size that each independent organisation has signed in this epoch, descending.
    fn sizes(&self) -> Vec<u64> {
        let known = self.known();
        let mut organisations: BTreeMap<&str, u64> = BTreeMap::new();
        for (courier, known) in self.couriers.iter().zip(known.iter()) {
            let settings = courier.settings();
            if let (Standing::Independent, Some((size, _))) = (settings.standing, known.cosigned) {
                let best = organisations.entry(&settings.organisation).or_default();
                *best = (*best).max(size);
            }
        }
        let mut sizes: Vec<u64> = organisations.into_values().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes
    }

    /// Whether a call can be witnessed at all.
    #[must_use]
    pub fn can_witness(&self) -> bool {
        let settings: Vec<WitnessSettings> =
            self.couriers.iter().map(|c| c.settings().clone()).collect();
        let independent = countersign_policies::site::settings::independent(&settings).len();
        independent > 0 && independent >= self.rule.quorum
    }

    /// Whether as many have signed a checkpoint of this epoch as the settings demand before the first call.
    ///
    /// A checkpoint of this epoch is signed by a key that did not exist before, so such a signature is fresh: whoever
    /// gave it knew every entry that it had signed before, and found them continued.
    #[must_use]
    pub fn have_confirmed(&self) -> bool {
        self.sizes().len() >= self.rule.start_requires
    }

    /// Announces a call that will wait.
    pub fn expect(&self) -> Expected {
        Expected(Arc::clone(&self.waiting))
    }

    fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.waiting) > 1
    }

    /// Waits until a quorum has signed entry `index`, or the time is up; what it has signed then.
    pub async fn reach(&self, _expected: &Expected, index: u64) -> CosignedSize {
        let mut seen = self.seen.subscribe();
        self.wake.notify_one();
        let reached = tokio::time::timeout(self.rule.wait, async {
            // The sender lives as long as the gateway.
            seen.wait_for(|size| *size > index).await.is_ok()
        });
        let _in_time = reached.await;
        CosignedSize(*self.seen.borrow())
    }

    /// How often something was not done since this was last asked.
    pub fn take_failures(&self) -> u64 {
        self.failures.swap(0, Ordering::Relaxed)
    }

    /// Failures that could not be written down after all.
    pub fn put_back_failures(&self, count: u64) {
        self.failures.fetch_add(count, Ordering::Relaxed);
    }

    /// What is known of each, for whoever looks after the gateway.
    #[must_use]
    pub fn health(&self) -> Value {
        let known = self.known();
        let witnesses = self.couriers.iter().zip(known.iter()).map(|(c, k)| {
            let settings = c.settings();
            json!({
                "name": settings.key.name(),
                "organisation": settings.organisation,
                "own": settings.standing == Standing::Own,
                "cosigned": k.cosigned.map(|(size, _)| size),
                "cosigned_at": k.cosigned.map(|(_, time)| time.0),
                "failures": k.failures,
                "trouble": k.trouble.map(|t| t.to_string()),
            })
        });
        Value::Array(witnesses.collect())
    }

    /// Places of those that a checkpoint over `size` entries should go to now; each counts as busy from here on.
    fn take_due(&self, size: u64, now: u64) -> Vec<usize> {
        let awaited = self.is_awaited();
        let mut due = Vec::new();
        for (place, known) in self.known().iter_mut().enumerate() {
            let behind = known.cosigned.is_none_or(|(cosigned, _)| cosigned < size);
            if behind && !known.busy && known.rested(now, awaited) {
                (known.busy, known.tried) = (true, now);
                due.push(place);
            }
        }
        due
    }

    fn let_go(&self, places: &[usize]) {
        let mut known = self.known();
        for place in places {
            if let Some(known) = known.get_mut(*place) {
                known.busy = false;
            }
        }
    }

    fn knows(&self, place: usize) -> u64 {
        self.known().get(place).map_or(0, |k| k.size)
    }

    /// Takes note of what came of a submission.
    fn arrived(&self, place: usize, outcome: Result<Seen, Trouble>, log_size: u64) {
        let name = self
            .couriers
            .get(place)
            .map_or("", |c| c.settings().key.name());
        {
            let mut known = self.known();
            let Some(known) = known.get_mut(place) else {
                return;
            };
            known.busy = false;
            match outcome {
                Ok(Seen { time, size, .. }) => {
                    known.size = size;
                    known.cosigned = Some((size, time));
                    (known.row, known.trouble) = (0, None);
                }
                // An answer was lost: it has signed what this log has, and is given more next time.
                Err(Trouble::Ahead(size)) if size <= log_size => known.size = size,
                Err(trouble) => {
                    if let Trouble::Ahead(size) | Trouble::OtherHistory(size) = trouble {
                        known.size = size;
                    }
                    if known.trouble != Some(trouble) {
                        tracing_line(&format!("witness {name} {trouble}"));
                    }
                    known.row = known.row.saturating_add(1);
                    known.failures = known.failures.saturating_add(1);
                    known.trouble = Some(trouble);
                    self.failures.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let place = self.rule.quorum.saturating_sub(1);
        if let Some(size) = self.sizes().get(place).copied() {
            self.seen.send_if_modified(|seen| {
                let more = size > *seen;
                *seen = (*seen).max(size);
                more
            });
        }
        if self.is_awaited() {
            self.wake.notify_one();
        }
    }
}

/// Keeps witnesses informed, for as long as the gateway serves.
pub async fn keep(gateway: Arc<Gateway>) {
    let witnesses = &gateway.witnesses;
    if witnesses.couriers.is_empty() || gateway.serving.is_none() {
        return;
    }
    let mut tick = tokio::time::interval(ROUND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = tick.tick() => false,
            () = witnesses.wake.notified() => true,
        };
        if !asked || witnesses.is_awaited() {
            round(&gateway).await;
        }
    }
}

/// One checkpoint, to every witness that is due.
async fn round(gateway: &Arc<Gateway>) {
    let witnesses = &gateway.witnesses;
    let now = gateway.clock.since_boot();
    let due = witnesses.take_due(gateway.journal.size(), now);
    if due.is_empty() {
        return;
    }
    let journal = Arc::clone(&gateway.journal);
    let made = tokio::task::spawn_blocking(move || journal.checkpoint_until_next()).await;
    let Ok(Ok(note)) = made else {
        // The log's own health says what is wrong with it.
        return witnesses.let_go(&due);
    };
    // ORDER: after the checkpoint was made. A call that it covers announced itself before its intent, so it is seen here.
    let interval = u64::try_from(witnesses.interval.as_millis()).unwrap_or(u64::MAX);
    let old = now.saturating_sub(witnesses.kept.load(Ordering::Relaxed)) >= interval;
    let keep = if witnesses.is_awaited() || old {
        witnesses.kept.store(now, Ordering::Relaxed);
        Keep::Always
    } else {
        Keep::UntilNext
    };
    let note: Arc<str> = note.into();
    for place in due {
        let (gateway, note) = (Arc::clone(gateway), Arc::clone(&note));
        tokio::spawn(async move {
            let outcome = send(&gateway, place, &note, keep).await;
            let size = gateway.journal.size();
            gateway.witnesses.arrived(place, outcome, size);
        });
    }
}

/// Submits a checkpoint and keeps the cosignature. Durable on return: no call leaves before it is.
async fn send(gateway: &Gateway, place: usize, note: &str, keep: Keep) -> Result<Seen, Trouble> {
    let witnesses = &gateway.witnesses;
    let courier = witnesses.couriers.get(place).ok_or(Trouble::NoProof)?;
    let submission = Submission {
        note,
        proofs: |old, new| gateway.journal.consistency(old, new).ok(),
    };
    let seen = courier.submit(&submission, witnesses.knows(place)).await?;
    let cosigned = Cosigned {
        size: seen.size,
        note: note.to_owned(),
        line: seen.line.clone(),
        keep,
    };
    let journal: Arc<Journal> = Arc::clone(&gateway.journal);
    let kept = tokio::task::spawn_blocking(move || journal.put_cosignature(cosigned)).await;
    match kept {
        Ok(Ok(())) => Ok(seen),
        Ok(Err(_)) | Err(_) => Err(Trouble::NoProof),
    }
}

/// Sends the last checkpoint of an epoch that was closed. What does not arrive in time is not waited for.
pub async fn last_words(gateway: &Arc<Gateway>) {
    let Ok(Some(note)) = gateway.journal.latest_checkpoint() else {
        return;
    };
    let note: Arc<str> = note.into();
    let mut sending = JoinSet::new();
    for place in 0..gateway.witnesses.couriers.len() {
        let (gateway, note) = (Arc::clone(gateway), Arc::clone(&note));
        sending.spawn(async move { send(&gateway, place, &note, Keep::Always).await });
    }
    while let Some(sent) = sending.join_next().await {
        if !matches!(sent, Ok(Ok(_))) {
            tracing_line("a witness has not seen the end of this epoch");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_policies::site::settings::PlainAddress;
    use countersign_record::digest::PublicKey;
    use countersign_record::note::{NoteKey, Role};

    fn settings(number: u8, organisation: &str, standing: Standing) -> WitnessSettings {
        let key = NoteKey::new(
            &format!("w{number}"),
            Role::Witness,
            PublicKey([number; 32]),
        );
        WitnessSettings {
            address: PlainAddress {
                authority: "127.0.0.1:1".to_owned(),
                path: String::new(),
            },
            key: key.unwrap(),
            organisation: organisation.to_owned(),
            standing,
        }
    }

    fn witnesses(list: Vec<WitnessSettings>, quorum: usize) -> Witnesses {
        let rule = WitnessRule {
            quorum,
            start_requires: quorum,
            wait: Duration::from_millis(1),
        };
        Witnesses::new(list, rule, Asked::default(), Duration::from_secs(600))
    }

    fn seen(size: u64) -> Result<Seen, Trouble> {
        Ok(Seen {
            line: String::new(),
            time: UnixSeconds(1),
            size,
        })
    }

    #[test]
    fn a_quorum_is_of_organisations_and_the_operators_own_never_count() {
        let list = vec![
            settings(1, "A", Standing::Independent),
            settings(2, "A", Standing::Independent),
            settings(3, "B", Standing::Independent),
            settings(4, "us", Standing::Own),
        ];
        let w = witnesses(list, 2);
        assert!(w.can_witness());
        w.arrived(0, seen(10), 10);
        w.arrived(1, seen(12), 12);
        w.arrived(3, seen(14), 14);
        assert_eq!(*w.seen.borrow(), 0, "one organisation is no quorum of two");
        assert!(!w.have_confirmed());
        w.arrived(2, seen(11), 14);
        assert_eq!(*w.seen.borrow(), 11, "what both have seen");
        assert!(w.have_confirmed());
    }

    #[test]
    fn what_cannot_reach_a_quorum_is_known_beforehand() {
        let own = witnesses(vec![settings(1, "us", Standing::Own)], 1);
        assert!(!own.can_witness());
        assert!(!witnesses(Vec::new(), 1).can_witness());
        let one = witnesses(vec![settings(1, "A", Standing::Independent)], 2);
        assert!(!one.can_witness());
    }

    #[test]
    fn a_witness_that_fails_rests_longer_each_time_and_less_long_while_a_call_waits() {
        let w = witnesses(vec![settings(1, "A", Standing::Independent)], 1);
        let mut pauses = Vec::new();
        let mut now = 100_000;
        for _ in 0..9 {
            assert_eq!(w.take_due(5, now), [0]);
            assert!(w.take_due(5, now).is_empty(), "it is busy");
            w.arrived(0, Err(Trouble::Timeout), 5);
            let pause = (0u64..)
                .find(|p| w.known()[0].rested(now + p, false))
                .unwrap();
            pauses.push(pause / 1000);
            assert!(w.known()[0].rested(now + 1000, true));
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(w.take_failures(), 9);
        assert_eq!(w.take_failures(), 0);
    }

    #[test]
    fn what_was_cosigned_is_not_submitted_again() {
        let w = witnesses(vec![settings(1, "A", Standing::Independent)], 1);
        assert_eq!(w.take_due(5, 0), [0]);
        w.arrived(0, seen(5), 5);
        assert!(w.take_due(5, 0).is_empty());
        assert_eq!(w.take_due(6, 0), [0]);
    }
}
