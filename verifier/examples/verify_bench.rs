//! Measures the verifier: entries a second, a second and core, and peak memory.
//!
//! `cargo run --release -p countersign-verify --example verify_bench -- [ENTRIES] [THREADS] [--tree-only]`
//!
//! The reference in the same run is what nobody can do without: the entries' signatures alone, in
//! batches as large as the verifier's, on one core.
//!
//! Makes an export of denied calls (one entry each) by one epoch key, a renewal every 100,000 entries,
//! writes it to a file beside the program, and verifies it as the command does, as a stream.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a measurement for people, at the console"
)]

#[expect(
    dead_code,
    reason = "shared by several programs, each of which uses a part"
)]
#[path = "../tests/common/mod.rs"]
mod common;

use common::{Call, Mini, NOW, call, check_with, trust};
use countersign_record::binding::Profile;
use countersign_record::body::{Event, EventKind, Mode, Verdict};
use countersign_record::cose::Sign1;
use countersign_record::digest::{CallId, RunId};
use countersign_record::entry::Body;
use countersign_record::export::{Framer, ItemKind};
use countersign_signatures::ed25519::{Batch, PublicKey, Signed};
use countersign_verify::{Depth, Options, verify};
use std::io::{Read as _, Write as _};
use std::time::Instant;

fn main() {
    let mut given = std::env::args().skip(1);
    let entries: u64 = given.next().and_then(|a| a.parse().ok()).unwrap_or(100_000);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = given.next().and_then(|a| a.parse().ok()).unwrap_or(cores);
    let path = std::env::current_exe()
        .unwrap()
        .with_extension(format!("{entries}.export"));
    // The export is made by a process of its own, so that its memory does not count.
    if std::env::args().any(|a| a == "--make") {
        std::fs::write(&path, make(entries)).unwrap();
        return;
    }
    if !path.exists() {
        let me = std::env::current_exe().unwrap();
        let made = std::process::Command::new(me)
            .args([&entries.to_string(), "1", "--make"])
            .status()
            .unwrap();
        assert!(made.success());
    }
    let bytes = std::fs::metadata(&path).unwrap().len();
    let trust = trust();
    let (depth, what) = if std::env::args().any(|a| a == "--tree-only") {
        (Depth::TreeOnly, "the tree alone")
    } else {
        (Depth::Full, "in full")
    };
    let options = Options {
        threads,
        depth,
        ..Options::default()
    };
    let before = Instant::now();
    let report = verify(std::fs::File::open(&path).unwrap(), &trust, &options, NOW);
    let seconds = before.elapsed().as_secs_f64();
    // Times of the sample run far past the verifier's clock; nothing else may fail.
    let bad: Vec<_> = common::failed(&report)
        .into_iter()
        .filter(|c| *c != "freshness")
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    let cpu = processor_seconds();
    let rate = report.counts.entries as f64 / seconds;
    let out = format!(
        "{what}: {} entries, {} bytes ({} each), {threads} threads: {seconds:.2} s, {rate:.0} entries/s; {cpu:.2} s of processor time, {:.0} entries/s and core; peak {} MiB\n",
        report.counts.entries,
        bytes,
        bytes / report.counts.entries.max(1),
        report.counts.entries as f64 / cpu,
        peak_mib(),
    );
    std::io::stdout().write_all(out.as_bytes()).unwrap();
    if depth == Depth::Full {
        let (count, seconds) = signatures_alone(&path);
        let alone = count as f64 / seconds;
        let out = format!(
            "signatures alone: {count} entries, 1 thread: {seconds:.2} s, {alone:.0} entries/s; the whole check has {:.2} of that for each core\n",
            report.counts.entries as f64 / cpu / alone,
        );
        std::io::stdout().write_all(out.as_bytes()).unwrap();
    }
    // Keeps the unused import honest: the same check runs on a small sample.
    let options = Options {
        threads,
        ..Options::default()
    };
    assert_eq!(
        check_with(&common::sample(Profile::Tpm).export(), &trust, options).exit_code,
        0
    );
}

/// Verifies the signatures of the first 100,000 entries, and nothing else of them; how many, and how long it took.
fn signatures_alone(path: &std::path::Path) -> (usize, f64) {
    let mut framer = Framer::new();
    let mut file = std::fs::File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut entries = Vec::new();
    while entries.len() < 100_000 {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        framer.push(buffer.get(..count).unwrap());
        while let Some(frame) = framer.next_frame().unwrap() {
            if frame.kind == ItemKind::Entry {
                entries.push(frame.content);
            }
        }
    }
    let key = PublicKey::parse(&common::epoch_key(1).public().0).unwrap();
    let before = Instant::now();
    for some in entries.chunks(256) {
        let statements: Vec<_> = some.iter().map(|e| Sign1::parse(e).unwrap()).collect();
        let mut batch = Batch::new();
        for statement in &statements {
            let message = statement.to_be_signed();
            batch.push(
                &key,
                Signed {
                    message: &message,
                    signature: &statement.signature().0,
                },
            );
        }
        assert!(batch.verify().is_ok());
    }
    (entries.len(), before.elapsed().as_secs_f64())
}

fn make(entries: u64) -> Vec<u8> {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    for number in 0..entries {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let mut run = [1; 16];
        run[..8].copy_from_slice(&(number % 100).to_be_bytes());
        let call = Call {
            id: CallId(id),
            run: RunId(run),
            ..call(1, Mode::Network)
        };
        log.decide(&call, Verdict::Deny, None);
        // What was said is in the bytes; the parsed copy would only take memory.
        if let Some(leaf) = log.leaves.last_mut() {
            leaf.payload.body = Body::Event(Event {
                kind: EventKind::Clock,
                count: 0,
                detail: None,
            });
        }
        if number % 100_000 == 99_999 {
            log.renew();
        }
    }
    log.renew();
    log.export()
}

/// Processor time of all threads of this process so far, in seconds. Source: proc(5), fields 14 and 15, at 100 a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let mut ticks = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|n| n.parse::<f64>().unwrap());
    (ticks.next().unwrap() + ticks.next().unwrap()) / 100.0
}

/// Peak resident memory of this process, in MiB. Source: proc(5), `VmHWM`.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
