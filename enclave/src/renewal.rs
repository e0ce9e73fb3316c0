//! Renewals: the platform vouches for the newest checkpoint, and new calls may be accepted for a while.
//!
//! In: a timer and the running gateway. Out: `renewal` entries, and a [`Lease`] that runs out by
//! itself. A renewal never delays a call: calls go on under the old lease while it is made.

use crate::boot::platform::Platform;
use crate::clock::Clock;
use crate::keeper::Keeper;
use anyhow::Context as _;
use countersign_journal::{Draft, Journal, PendingRenewal};
use countersign_record::binding::{CloseStatement, LogHead, RenewalStatement};
use countersign_record::body::{Close, Event, EventKind, EvidenceRef, Renewal};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::digest::EntryDigest;
use countersign_record::entry::{Body, EntryRef};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Until when new calls may be accepted, by the clock that only advances.
#[derive(Debug, Default)]
pub struct Lease {
    until: AtomicU64,
}

impl Lease {
    /// Whether a new call may be accepted.
    #[must_use]
    pub fn holds(&self, since_boot: u64) -> bool {
        since_boot < self.until.load(Ordering::Acquire)
    }

    /// How much of it is left, in milliseconds.
    #[must_use]
    pub fn left(&self, since_boot: u64) -> u64 {
        self.until
            .load(Ordering::Acquire)
            .saturating_sub(since_boot)
    }

    fn extend(&self, until: u64) {
        self.until.fetch_max(until, Ordering::AcqRel);
    }

    /// Takes no new calls from now on.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
}

/// Makes renewals, one after another.
pub struct Renewer {
    keeper: Arc<dyn Keeper>,
    platform: Platform,
    journal: Arc<Journal>,
    clock: Arc<Clock>,
    lease: Arc<Lease>,
    base: EntryDigest,
    previous: EntryDigest,
    /// Counter value that the log explains.
    counter: u64,
    number: u64,
    /// Steps of the counter that were tried since then.
    attempts: u64,
    interval: Duration,
}

/// What a renewer is made from.
pub struct Parts {
    /// Counts.
    pub keeper: Arc<dyn Keeper>,
    /// The platform.
    pub platform: Platform,
    /// The log.
    pub journal: Arc<Journal>,
    /// Clocks.
    pub clock: Arc<Clock>,
    /// The lease to extend.
    pub lease: Arc<Lease>,
    /// The epoch's base.
    pub base: EntryDigest,
    /// The base's counter value.
    pub counter: u64,
    /// Time between renewals.
    pub interval: Duration,
}

impl Renewer {
    /// Before the first renewal of an epoch.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            keeper,
            platform,
            journal,
            clock,
            lease,
            base,
            counter,
            interval,
        } = parts;
        Self {
            keeper,
            platform,
            journal,
            clock,
            lease,
            base,
            previous: base,
            counter,
            number: 0,
            attempts: 0,
            interval,
        }
    }

    /// A lease lasts two intervals: overdue by one, new calls are refused.
    fn lease_millis(&self) -> u64 {
        u64::try_from(self.interval.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(2)
    }

    /// Makes the next renewal.
    ///
    /// # Errors
    /// If the TPM or the log does not take part; the lease then runs out.
    pub fn renew(&mut self) -> anyhow::Result<EntryRef> {
        let number = self.number.saturating_add(1);
        let started = self.clock.now();
        let counter = self.step(number)?;
        let snapshot = self.journal.snapshot();
        let statement = RenewalStatement {
            base: self.base,
            number,
            counter,
            head: LogHead {
                size: snapshot.head.size,
                root: snapshot.head.root,
            },
            tenants: snapshot.tenants_root,
            tenant_count: snapshot.tenant_count,
            previous: self.previous,
            lease: self.lease_millis(),
            at: started.at,
            beacon: None,
        };
        let evidence = self.attest(statement.qualifying().0)?;
        let entry = self.append(Body::Renewal(Renewal {
            statement: Bytes(statement.to_bytes()),
            evidence: vec![evidence],
        }))?;
        (self.previous, self.number) = (entry.digest, number);
        self.stands(counter);
        // The lease counts from before the evidence was made, so that it never promises more than the evidence.
        self.lease
            .extend(started.since_boot.saturating_add(self.lease_millis()));
        Ok(entry)
    }

    /// Ends the epoch in good order. No entry may be on its way any more.
    ///
    /// # Errors
    /// If the TPM or the log does not take part; the epoch then ends without a close.
    pub fn close(mut self) -> anyhow::Result<EntryRef> {
        self.lease.end();
        let counter = self.step(self.number.saturating_add(1))?;
        let snapshot = self.journal.snapshot();
        let statement = CloseStatement {
            base: self.base,
            counter,
            head: LogHead {
                size: snapshot.head.size,
                root: snapshot.head.root,
            },
            previous: self.previous,
            at: self.clock.now().at,
            tenants: snapshot.tenants_root,
            tenant_count: snapshot.tenant_count,
        };
        let evidence = self.attest(statement.qualifying().0)?;
        let body = Body::Close(Close {
            statement: Bytes(statement.to_bytes()),
            evidence: vec![evidence],
        });
        let entry = self.append(body)?;
        // The journal signs the epoch's last checkpoint by itself, and has no key any more.
        self.stands(counter);
        Ok(entry)
    }

    /// Moves the counter by one, announced beforehand. Steps of our own that no entry came of
    /// stand in the log first; steps of anybody else's end the renewals.
    fn step(&mut self, number: u64) -> anyhow::Result<u64> {
        let found = self
            .keeper
            .counter()
            .context("the epoch counter cannot be read")?;
        let fruitless = found
            .checked_sub(self.counter)
            .context("the epoch counter runs backwards; this is another TPM")?;
        anyhow::ensure!(
            fruitless <= self.attempts,
            "the epoch counter is {found}, the log explains {}; another program moves it",
            self.counter
        );
        if fruitless > 0 {
            let event = Event {
                kind: EventKind::RenewalFailed,
                count: fruitless,
                detail: None,
            };
            self.append(Body::Event(event))?;
        }
        self.stands(found);
        let next = found
            .checked_add(1)
            .context("the epoch counter is at its end")?;
        // ORDER: announced before the counter moves, so that a crash between them is explained.
        self.journal.put_pending_renewal(&PendingRenewal {
            counter: next,
            number,
        })?;
        self.attempts = 1;
        let counter = self
            .keeper
            .increment()
            .context("the epoch counter does not move")?;
        anyhow::ensure!(
            counter == next,
            "the epoch counter went from {found} to {counter}; another program moves it"
        );
        Ok(counter)
    }

    /// The log explains the counter up to this value.
    fn stands(&mut self, counter: u64) {
        (self.counter, self.attempts) = (counter, 0);
    }

    fn attest(&self, qualifying: [u8; 32]) -> anyhow::Result<EvidenceRef> {
        self.platform.later(qualifying)?.keep(&self.journal)
    }

    fn append(&self, body: Body) -> anyhow::Result<EntryRef> {
        let now = self.clock.now();
        let draft = Draft {
            tenant: None,
            run: None,
            body,
            at: now.at,
            since_boot: now.since_boot,
            disclosures: Vec::new(),
        };
        let appended = self.journal.append_and_wait(draft)?;
        self.clock.not_before(appended.at);
        Ok(EntryRef {
            index: appended.index,
            digest: appended.digest,
        })
    }

    /// Time between renewals.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }
}
