//! Kills the gateway at any moment, again and again, and holds what is left against what happened.
//!
//! In: a machine, a number of rounds. Out: what was seen; a broken promise fails the test.
//! A round boots the gateway, puts it under load from agents of both tenants, kills it after a random
//! number of answers and microseconds, boots it again, and has the export judged: by the verifier with
//! every receipt, and entry by entry against effects and answers.

use crate::audit::hold_against_world;
use crate::auditor::Log;
use crate::client::{Answer, Client};
use crate::machine::{Gateway, Machine};
use crate::{random_below, unique};
use serde_json::{Value, json};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Clients of each agent.
const CLIENTS: usize = 4;

/// Most answers before a kill.
const MOST_ANSWERS: u64 = 40;

/// Longest time between the last awaited answer and the kill, in microseconds.
const MOST_MICROS: u64 = 4000;

/// What many rounds came to.
#[derive(Debug, Default)]
pub struct Seen {
    /// Kills.
    pub kills: usize,
    /// Boots that were killed before they were ready.
    pub killed_boots: usize,
    /// Answers that clients received.
    pub answers: usize,
    /// Effects that tools had.
    pub effects: usize,
    /// Calls that were sealed and whose outcome is unknown.
    pub unknown: usize,
    /// Openings that came to nothing, as the log tells.
    pub abandoned: usize,
    /// Entries.
    pub entries: usize,
    /// From start to ready, in each boot.
    pub boots: Vec<Duration>,
    /// Time of each verification.
    pub verifications: Vec<Duration>,
}

impl Seen {
    /// Adds what another machine's rounds came to.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let Self {
            kills,
            killed_boots,
            answers,
            effects,
            unknown,
            abandoned,
            entries,
            boots,
            verifications,
        } = other;
        self.kills += kills;
        self.killed_boots += killed_boots;
        self.answers += answers;
        self.effects += effects;
        self.unknown += unknown;
        self.abandoned += abandoned;
        self.entries += entries;
        self.boots.extend(boots);
        self.verifications.extend(verifications);
        self
    }

    /// In a sentence or two.
    #[must_use]
    pub fn sentence(&self) -> String {
        let ms = |times: &[Duration], of: usize| {
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            let at = sorted.len().saturating_sub(1) * of / 100;
            sorted.get(at).map_or(0, Duration::as_millis)
        };
        format!(
            "{} kills under load and {} during boot; {} answers, {} effects, {} calls of unknown outcome, \
             {} abandoned openings, {} entries; boot p50 {} ms, p99 {} ms; verification p50 {} ms",
            self.kills,
            self.killed_boots,
            self.answers,
            self.effects,
            self.unknown,
            self.abandoned,
            self.entries,
            ms(&self.boots, 50),
            ms(&self.boots, 99),
            ms(&self.verifications, 50),
        )
    }
}

/// A machine whose gateway is killed again and again.
pub struct Rounds {
    machine: Machine,
    answers: Vec<Answer>,
    seen: Seen,
}

impl Rounds {
    /// Before the first round.
    #[must_use]
    pub fn on(machine: Machine) -> Self {
        Self {
            machine,
            answers: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// A boot that has to succeed.
    pub fn boot(&mut self) -> Gateway {
        let from = Instant::now();
        let gateway = self.machine.start();
        self.seen.boots.push(from.elapsed());
        gateway
    }

    /// Puts a gateway under load and kills it at a random moment.
    ///
    /// # Panics
    /// If a client's thread does.
    pub fn kill_under_load(&mut self, gateway: &mut Gateway) {
        let (say, hear) = channel();
        let clients = (0..CLIENTS).flat_map(|_| [gateway.alpha(), gateway.beta()]);
        let threads: Vec<_> = clients
            .map(|client| {
                let say = say.clone();
                thread::spawn(move || call_until_broken(client, &say))
            })
            .collect();
        drop(say);
        for _ in 0..random_below(MOST_ANSWERS) {
            if hear.recv_timeout(crate::PATIENCE).is_err() {
                break;
            }
        }
        // Not to synchronise: the kill shall fall anywhere between two answers.
        thread::sleep(Duration::from_micros(random_below(MOST_MICROS)));
        gateway.kill();
        self.seen.kills += 1;
        for thread in threads {
            self.answers.extend(thread.join().expect("a client"));
        }
    }

    /// Kills boots after random times, `kills` of them.
    ///
    /// # Panics
    /// If one of them says that it is held.
    pub fn kill_boots(&mut self, kills: u64, most: Duration) {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        for _ in 0..kills {
            let mut process = crate::process::Process::start(&mut self.machine.serve_command());
            // Not to synchronise: the kill shall fall anywhere in the boot.
            thread::sleep(Duration::from_micros(random_below(most)));
            process.kill();
            assert!(!process.said().contains("held"), "{}", process.said());
            self.seen.killed_boots += 1;
        }
    }

    /// Has the export judged: by the verifier with all receipts, and against the world.
    ///
    /// # Panics
    /// If anything does not hold.
    pub fn judge(&mut self, gateway: &Gateway) -> Log {
        let export = gateway.export();
        let receipts: Vec<String> = self
            .answers
            .iter()
            .filter_map(|a| a.receipt().map(str::to_owned))
            .collect();
        let from = Instant::now();
        // A kill between an announcement and its entry is a lease that may be missing; nobody can tell it from a hidden one.
        let auditor = self.machine.auditor();
        let auditor = auditor.trusting("[log]\nmax_unquoted_tail_seconds = 7200");
        let verdict = auditor.verify_with(&export, &receipts);
        self.seen.verifications.push(from.elapsed());
        assert_eq!(verdict.exit_code, 0, "{}", verdict.complaints());
        if !receipts.is_empty() {
            assert_eq!(
                verdict.state("receipts"),
                "pass",
                "{}",
                verdict.reason("receipts")
            );
            assert_eq!(
                verdict.state("receipt-missing"),
                "pass",
                "{}",
                verdict.reason("receipt-missing")
            );
        }
        assert_eq!(verdict.count("open"), 0, "every call is settled");
        let log = Log::read(&export);
        hold_against_world(&log, &self.machine.effects(), &self.answers);
        self.seen.unknown = usize::try_from(verdict.count("unknown")).expect("small");
        self.seen.entries = log.0.len();
        self.seen.abandoned = log.abandoned_openings();
        std::fs::remove_file(export).expect("an export can be removed");
        log
    }

    /// What was seen.
    #[must_use]
    pub fn seen(mut self) -> Seen {
        self.seen.answers = self.answers.len();
        self.seen.effects = self.machine.effects().len();
        self.seen
    }
}

/// Some rounds of kills under load on one machine, each judged after the restart.
#[must_use]
pub fn rounds_under_load(rounds: u64) -> Seen {
    let mut run = Rounds::on(Machine::enrolled());
    let mut gateway = run.boot();
    for _ in 0..rounds {
        run.kill_under_load(&mut gateway);
        gateway = run.boot();
        run.judge(&gateway);
    }
    run.seen()
}

/// Some rounds of boots killed anywhere on one machine, each followed by calls and a judged export.
///
/// # Panics
/// If a call fails after a boot that was let through.
#[must_use]
pub fn rounds_of_boots(rounds: u64) -> Seen {
    let mut run = Rounds::on(Machine::enrolled());
    let from = Instant::now();
    let mut gateway = run.boot();
    let whole = from.elapsed();
    for _ in 0..rounds {
        gateway.kill();
        run.seen.kills += 1;
        run.kill_boots(1 + random_below(4), whole + whole / 4);
        gateway = run.boot();
        let line = json!({ "line": unique("boot") });
        let answer = gateway
            .alpha()
            .call("effects.append", line)
            .expect("a gateway that is ready");
        assert!(answer.is_ok(), "{answer:?}");
        run.answers.push(answer);
        run.judge(&gateway);
    }
    run.seen()
}

/// Calls until the connection breaks; what was answered.
fn call_until_broken(mut client: Client, say: &Sender<()>) -> Vec<Answer> {
    let mut out = Vec::new();
    loop {
        let Ok(answer) = client.call_with(some_call()) else {
            return out;
        };
        out.push(answer);
        // The killer has heard enough.
        let _unheard = say.send(());
    }
}

/// A call as agents make them: effects, reads, and requests that are refused.
fn some_call() -> Value {
    let arguments = json!({ "line": unique("load") });
    let call = |capability: &str| json!({ "capability": capability, "arguments": arguments });
    match random_below(8) {
        0 => call("effects.read"),
        1 => call("effects.erase"),
        2 => call("effects.nothing"),
        3 => {
            let mut out = call("effects.append");
            out["idempotency_key"] = Value::String(unique("key"));
            out
        }
        _ => call("effects.append"),
    }
}
