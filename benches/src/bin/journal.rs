//! The journal against a bare group-committed file, in the same run.
//!
//! `journal [--seconds N] [--recovery N]` prints a table: signed Decision Records a second with
//! 1, 16, 64 and 256 writers, each waiting for its flush, and the same number of bytes through a
//! preallocated file with one `fdatasync` a batch. `--recovery` writes N entries and times opening.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use anyhow::{Context, Result, bail};
use countersign_journal::{
    Alone, Draft, EpochSigner, Journal, KeyRing, Limits, Options, StorageKey,
};
use countersign_record::binding::{BINDING_VERSION, Binding, LogHead, Profile, epoch_message};
use countersign_record::body::{
    Base, Caller, CapabilityRef, Classification, Decision, Effect, Handling, Lineage, Mode,
    PolicyOutcome, Times, Trace, Verdict,
};
use countersign_record::cbor::{Bytes, Cbor};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{
    ArtifactDigest, CallId, Commitment, EntryDigest, Nonce, PublicKey, RunId, Salt, Signature,
    TenantId, UnixMillis,
};
use countersign_record::entry::{Body, EntryRef};
use ed25519_dalek::{Signer as _, SigningKey};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

fn main() -> Result<()> {
    if countersign_benches::figures::helps(include_str!("journal.rs")) {
        return Ok(());
    }
    let (mut seconds, mut recovery) = (3, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{arg} needs a number"))?
            .parse()?;
        match arg.as_str() {
            "--seconds" => seconds = value,
            "--recovery" => recovery = Some(value),
            _ => bail!("unknown option {arg}"),
        }
    }
    if let Some(entries) = recovery {
        return recover(entries);
    }
    let lasting = Duration::from_secs(seconds);
    println!(
        "{:>8} {:>20} {:>12} {:>9} {:>9} {:>7}",
        "writers", "what", "entries/s", "p50 µs", "p99 µs", "ratio"
    );
    for writers in [1, 16, 64, 256] {
        let bare = bare_file(writers, lasting)?;
        let journal = journal(writers, lasting)?;
        print_row(writers, "bare file", &bare, 1.0);
        print_row(writers, "journal", &journal, journal.rate / bare.rate);
    }
    Ok(())
}

/// Bytes of a record with its disclosures, as the bare file writes them: 900 signed and 2,100 encrypted.
const RECORD_BYTES: usize = 3_000;

struct Figures {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

fn print_row(writers: usize, what: &str, f: &Figures, ratio: f64) {
    let (p50, p99) = (f.p50.as_micros(), f.p99.as_micros());
    println!(
        "{writers:>8} {what:>20} {:>12.0} {p50:>9} {p99:>9} {ratio:>7.2}",
        f.rate
    );
}

/// Runs `append` in `writers` threads, each waiting for its own.
fn measure(
    writers: usize,
    lasting: Duration,
    append: impl Fn(u64) -> Result<()> + Sync,
) -> Result<Figures> {
    let (stop, number) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    let work = || -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            append(number.fetch_add(1, Ordering::Relaxed))?;
            times.push(began.elapsed());
        }
        Ok(times)
    };
    let mut times = std::thread::scope(|scope| -> Result<Vec<Duration>> {
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(work)).collect();
        std::thread::sleep(lasting);
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in threads {
            all.extend(
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a writer panicked"))??,
            );
        }
        Ok(all)
    })?;
    let elapsed = started.elapsed();
    times.sort();
    let at = |percent: usize| {
        let index = times
            .len()
            .saturating_mul(percent)
            .checked_div(100)
            .unwrap_or(0);
        times.get(index).copied().unwrap_or_default()
    };
    let count = u32::try_from(times.len())?;
    Ok(Figures {
        rate: f64::from(count) / elapsed.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    })
}

fn journal(writers: usize, lasting: Duration) -> Result<Figures> {
    let dir = tempfile::tempdir()?;
    let (journal, _) = open(dir.path())?;
    begin(&journal)?;
    let disclosures = disclosures();
    measure(writers, lasting, |n| {
        journal.append_and_wait(decision(n, &disclosures))?;
        Ok(())
    })
}

fn recover(entries: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (journal, _) = open(dir.path())?;
    begin(&journal)?;
    let (disclosures, next) = (disclosures(), AtomicU64::new(1));
    std::thread::scope(|scope| {
        for _ in 0..128 {
            scope.spawn(|| {
                let more = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < entries);
                while let Some(n) = more() {
                    if journal.append_and_wait(decision(n, &disclosures)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    drop(journal);
    let bytes = std::fs::metadata(dir.path().join("log.sqlite"))?.len();
    let began = Instant::now();
    let (_, found) = open(dir.path())?;
    println!(
        "{} entries, {} MiB: opened in {:?}",
        found.head.size,
        bytes >> 20,
        began.elapsed()
    );
    Ok(())
}

/// What the journal is measured against: one writer, one preallocated file, one `fdatasync` a batch.
struct Bare {
    queue: Mutex<BareQueue>,
    arrived: Condvar,
}

#[derive(Default)]
struct BareQueue {
    waiting: Vec<SyncSender<()>>,
    bytes: Vec<u8>,
    stop: bool,
}

fn bare_file(writers: usize, lasting: Duration) -> Result<Figures> {
    let dir = tempfile::tempdir()?;
    let file = File::create(dir.path().join("bare"))?;
    let size = 4u64 << 30;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size)?;
    let bare = Bare {
        queue: Mutex::new(BareQueue::default()),
        arrived: Condvar::new(),
    };
    let record = [7u8; RECORD_BYTES];
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_batches(&bare, &file, size));
        let figures = measure(writers, lasting, |_| {
            let (reply, answer) = sync_channel(1);
            let mut queue = bare.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.bytes.extend_from_slice(&record);
            queue.waiting.push(reply);
            drop(queue);
            bare.arrived.notify_one();
            Ok(answer.recv()?)
        });
        bare.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stop = true;
        bare.arrived.notify_one();
        writer
            .join()
            .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        figures
    })
}

fn write_batches(bare: &Bare, file: &File, size: u64) -> Result<()> {
    let mut offset = 0u64;
    loop {
        let mut queue = bare.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.waiting.is_empty() && !queue.stop {
            queue = bare
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if queue.waiting.is_empty() {
            return Ok(());
        }
        let BareQueue { waiting, bytes, .. } = std::mem::take(&mut *queue);
        drop(queue);
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        // Written over from the start when it is full, as a log that is cut into segments would be.
        offset = offset.saturating_add(u64::try_from(bytes.len())?);
        if offset > size.saturating_sub(1 << 24) {
            offset = 0;
        }
        waiting
            .into_iter()
            .for_each(|reply| reply.send(()).unwrap_or(()));
    }
}

fn identity() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn open(dir: &Path) -> Result<(Journal, countersign_journal::Found)> {
    let ring = KeyRing::new(1, StorageKey::new([5; 32].into()));
    let identity = PublicKey(identity().verifying_key().to_bytes());
    let options = Options {
        identity,
        ring,
        limits: Limits::default(),
        alone: Alone::on_this_machine(),
    };
    Ok(Journal::open(dir, options, &mut |_, _| Ok(()))?)
}

fn begin(journal: &Journal) -> Result<()> {
    let (identity, epoch) = (identity(), SigningKey::from_bytes(&[2; 32]));
    let head = journal.snapshot().head;
    let zero = ArtifactDigest([0; 32]);
    let binding = Binding {
        version: BINDING_VERSION,
        profile: Profile::Swtpm,
        identity_key: PublicKey(identity.verifying_key().to_bytes()),
        epoch_key: PublicKey(epoch.verifying_key().to_bytes()),
        ak_name: Bytes(vec![0; 34]),
        tls_key: None,
        pcrs: vec![],
        release_key: Bytes(vec![]),
        build: zero,
        configuration: zero,
        bundles: vec![],
        counter: 1,
        previous: LogHead {
            size: head.size,
            root: head.root,
        },
        nonce: Nonce([0; 32]),
    }
    .to_bytes();
    let base = Base {
        identity_signature: Signature(identity.sign(&epoch_message(&binding)).to_bytes()),
        binding: Bytes(binding),
        evidence: vec![],
        epoch: 1,
        previous: None,
        explained: 0,
        abandoned: vec![],
        recovery_key: None,
        software: "benchmark".to_owned(),
    };
    let sign = move |message: &[u8]| Signature(identity.sign(message).to_bytes());
    journal.begin_epoch(EpochSigner::new(epoch, Box::new(sign)))?;
    let at = UnixMillis(1);
    let body = Body::Base(base);
    journal.append_and_wait(Draft {
        tenant: None,
        run: None,
        body,
        at,
        since_boot: 0,
        disclosures: vec![],
    })?;
    Ok(())
}

const FIELDS: [Field; 6] = [
    Field::Agent,
    Field::Facts,
    Field::Received,
    Field::Forwarded,
    Field::RawResult,
    Field::Released,
];

/// Six values of 300 bytes.
fn disclosures() -> Vec<Disclosure> {
    FIELDS
        .iter()
        .map(|f| Disclosure {
            field: *f,
            salt: Salt([9; 16]),
            value: Bytes(vec![b'v'; 300]),
        })
        .collect()
}

fn caller(agent: Commitment) -> Caller {
    Caller {
        assurance: 3,
        key: None,
        agent,
        user: None,
        session: None,
        proof: None,
        claims: None,
        principal_chain: None,
        subject: None,
    }
}

/// A Decision Record of about 900 bytes.
fn decision(n: u64, disclosures: &[Disclosure]) -> Draft {
    let of = |field: Field| {
        disclosures
            .iter()
            .find(|d| d.field == field)
            .map(Disclosure::commitment)
    };
    let digest = ArtifactDigest([6; 32]);
    let mut call = [0; 16];
    for (to, from) in call
        .iter_mut()
        .zip(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
    {
        *to = from;
    }
    let at = UnixMillis(1_700_000_000_000);
    let decision = Decision {
        call: CallId(call),
        in_force: EntryRef {
            index: 0,
            digest: EntryDigest([1; 32]),
        },
        intent: None,
        parent: None,
        verdict: Verdict::Deny,
        code: Some("denied_by_policy".to_owned()),
        effect: Effect::None,
        cancelled: None,
        times: Times {
            received: at,
            decided: at,
            dispatched: Some(at),
            settled: at,
        },
        trace: Some(Trace {
            id: [3; 16],
            span: [4; 8],
        }),
        caller: caller(of(Field::Agent).unwrap_or(Commitment([0; 32]))),
        capability: Some(CapabilityRef {
            id: "customers.read_one".to_owned(),
            descriptor: Some(digest),
            adapter: "customers".to_owned(),
            upstream: Some(digest),
        }),
        policy: Some(PolicyOutcome {
            bundle: digest,
            fired: vec!["read-customers".to_owned()],
            obligations: vec![],
            errors: vec![],
            requested: Mode::ReadOnly,
            effective: Mode::ReadOnly,
            highest: Mode::Destructive,
        }),
        lineage: Some(Lineage {
            pack: Some("support".to_owned()),
            pack_digest: None,
            model: Some("model".to_owned()),
            model_digest: None,
            snapshot: None,
            confidence: Some(900),
        }),
        facts: of(Field::Facts),
        received: of(Field::Received).unwrap_or(Commitment([0; 32])),
        forwarded: of(Field::Forwarded),
        raw_result: of(Field::RawResult),
        released: of(Field::Released),
        transcript: None,
        evidence: vec![],
        redactions: vec!["email".to_owned()],
        action: None,
        approvals: vec![],
        idempotency: None,
        controls: vec!["default-deny".to_owned()],
        handling: Some(Handling {
            classification: Classification::Internal,
            retention: "standard".to_owned(),
            residency: "eu".to_owned(),
        }),
        plan: None,
        egress: None,
        sandbox: vec![],
        probes: vec![],
        correlation: None,
        witnessed: false,
        preview: None,
        basis: None,
    };
    Draft {
        tenant: Some(TenantId([1; 16])),
        run: Some(RunId([u8::try_from(n & 63).unwrap_or(0); 16])),
        body: Body::Decision(decision),
        at,
        since_boot: n >> 5,
        disclosures: disclosures.to_vec(),
    }
}
