//! What can happen next.
//!
//! The gateway's steps are those of `docs/spec/evidence.md`, each durable before the next:
//! announce → increment → certify and enter. Between any two of them the process may crash, the TPM
//! may not answer, another process may move the counter. The operator's steps need no process.

use crate::Rules;
use crate::world::{
    Announcement, Body, Counter, Disk, Entry, Head, Key, Phase, Prefix, Process, Step, World,
};
use std::rc::Rc;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A gateway starts on a disk: reads it, compares the counter, announces its opening.
    /// Where a step of the counter was announced as both, [`Prefer`] says which is taken.
    Boot(usize, Prefer),
    /// The same, where the counter is not explained and governance signs for it.
    Recover(usize),
    /// The counter moves by one.
    Increment(usize),
    /// What was announced is certified and entered.
    Enter(usize),
    /// A renewal is announced. Steps of its own that came to nothing are told first.
    Renew(usize),
    /// A close is announced.
    Close(usize),
    /// A call is accepted, entered and acknowledged.
    Call(usize),
    /// The process ends.
    Crash(usize),
    /// The TPM does not answer; the step is given up, and tried anew later.
    Fail(usize),
    /// The operator puts a log, or the beginning of one, on a disk, with every announcement there ever was.
    Restore(usize, Prefix),
    /// The witness is given a checkpoint.
    Submit(Prefix),
    /// A witness that is not atomic cosigns what it compared earlier.
    Cosign(usize),
}

/// Which announcement explains a step that has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// That of an opening.
    Opening,
    /// That of a renewal.
    Renewal,
}

/// Every step that is possible.
#[must_use]
pub fn actions(world: &World, rules: &Rules) -> Vec<Action> {
    let mut out = Vec::new();
    for at in 0..usize::from(world.left.disks) {
        match (&world.disks[at], &world.processes[at]) {
            (Some(disk), None) => offline(world, rules, at, disk, &mut out),
            (Some(_), Some(process)) => running(world, at, process, &mut out),
            (None, _) => {}
        }
        if world.left.restores > 0 && world.processes[at].is_none() {
            let all = world.exports().chain([Prefix { log: 0, size: 0 }]);
            out.extend(all.map(|prefix| Action::Restore(at, prefix)));
        }
    }
    if world.left.submissions > 0 {
        out.extend(world.exports().map(Action::Submit));
    }
    out.extend((0..world.witness.compared.len()).map(Action::Cosign));
    out
}

fn offline(world: &World, rules: &Rules, at: usize, disk: &Disk, out: &mut Vec<Action>) {
    if world.left.boots == 0 || world.counter >= world.left.counter {
        return;
    }
    let one = explain(world, rules, disk, Prefer::Opening);
    let other = explain(world, rules, disk, Prefer::Renewal);
    out.push(Action::Boot(at, Prefer::Opening));
    if one != other {
        out.push(Action::Boot(at, Prefer::Renewal));
    }
    if one.is_none() && world.left.recoveries > 0 {
        out.push(Action::Recover(at));
    }
}

fn running(world: &World, at: usize, process: &Process, out: &mut Vec<Action>) {
    match &process.phase {
        Phase::Opening { moved: false, .. } | Phase::Stepping { moved: false, .. } => {
            out.push(Action::Increment(at));
        }
        Phase::Opening { moved: true, .. } | Phase::Stepping { moved: true, .. } => {
            out.push(Action::Enter(at));
        }
        Phase::Serving => {
            if world.counter < world.left.counter {
                out.extend([Action::Renew(at), Action::Close(at)]);
            }
        }
    }
    // Calls go on while a renewal is made; a close has ended the lease. What may be missing is counted
    // in leases, so one call stands for all of a lease.
    let served = |lease| {
        world.disks[at].as_ref().is_some_and(|disk| {
            world.log_on(disk).iter().rev().any(
                |e| matches!(e.body, Body::Call { lease: l, .. } if e.key == process.key && l == lease),
            )
        })
    };
    if world.left.calls > 0 && process.lease.is_some_and(|lease| !served(lease)) {
        out.push(Action::Call(at));
    }
    if world.left.crashes > 0 {
        out.push(Action::Crash(at));
    }
    if world.left.failures > 0 && matches!(process.phase, Phase::Stepping { .. }) {
        out.push(Action::Fail(at));
    }
}

/// The world after a step.
#[must_use]
pub fn after(world: &World, rules: &Rules, action: Action) -> World {
    let mut next = world.clone();
    match action {
        Action::Boot(at, prefer) => next.boot(rules, at, prefer),
        Action::Recover(at) => next.recover(rules, at),
        Action::Increment(at) => next.increment(at),
        Action::Enter(at) => next.enter(rules, at),
        Action::Renew(at) => next.announce_step(rules, at, false),
        Action::Close(at) => next.announce_step(rules, at, true),
        Action::Call(at) => next.call(at),
        Action::Crash(at) => {
            next.processes[at] = None;
            next.left.crashes -= 1;
        }
        Action::Fail(at) => {
            next.left.failures -= 1;
            next.give_up(at);
        }
        Action::Restore(at, prefix) => next.restore(at, prefix),
        Action::Submit(prefix) => next.submit(rules, prefix),
        Action::Cosign(number) => {
            let prefix = next.witness.compared.remove(number);
            next.witness.cosigned.push(prefix);
        }
    }
    next
}

/// Up to where a log explains the counter.
#[must_use]
pub fn explained(log: &[Entry]) -> Counter {
    log.iter().fold(0, |counter, entry| match &entry.body {
        Body::Base { step, .. } | Body::Renewal(step) | Body::Close(step) => step.claimed,
        Body::Failed(steps) => counter + steps,
        Body::Gap { found, .. } => counter.max(*found),
        Body::Call { .. } => counter,
    })
}

/// Key of the last epoch of a log.
fn last_key(log: &[Entry]) -> Option<Key> {
    log.last().map(|entry| entry.key)
}

/// Every step since the log's last, by the announcement that explains it; nothing if one is missing.
fn explain(
    world: &World,
    rules: &Rules,
    disk: &Disk,
    prefer: Prefer,
) -> Option<Vec<(Counter, Key)>> {
    let log = world.log_on(disk);
    let counts = |a: &&Announcement| !rules.announcements_bound_to_the_log || a.size <= log.len();
    let known = explained(log);
    (known <= world.counter).then_some(())?;
    (known + 1..=world.counter)
        .map(|step| {
            let mut of_step = disk
                .announced
                .iter()
                .filter(counts)
                .filter(|a| a.counter == step);
            let opening = of_step.clone().find_map(|a| a.opening);
            let renewal = of_step.find(|a| a.opening.is_none()).and(last_key(log));
            let key = match prefer {
                Prefer::Opening => opening.or(renewal),
                Prefer::Renewal => renewal.or(opening),
            };
            key.map(|key| (step, key))
        })
        .collect()
}

impl World {
    fn boot(&mut self, rules: &Rules, at: usize, prefer: Prefer) {
        let Some(disk) = &self.disks[at] else { return };
        match explain(self, rules, disk, prefer) {
            Some(abandoned) => self.open(rules, at, abandoned, None),
            None if rules.unexplained_steps_hold_the_gateway => {
                self.held = true;
                // A held gateway is as good as none; trying again shows nothing new.
                self.left.boots -= 1;
            }
            None => self.open(rules, at, Vec::new(), None),
        }
    }

    fn recover(&mut self, rules: &Rules, at: usize) {
        self.left.recoveries -= 1;
        self.open(rules, at, Vec::new(), Some(self.counter));
    }

    fn open(
        &mut self,
        rules: &Rules,
        at: usize,
        abandoned: Vec<(Counter, Key)>,
        recovered: Option<Counter>,
    ) {
        let Some(disk) = &self.disks[at] else { return };
        let counter = explained(self.log_on(disk));
        let key = self.next_key;
        self.next_key += 1;
        self.left.boots -= 1;
        self.processes[at] = Some(Process {
            key,
            phase: Phase::Opening {
                abandoned,
                recovered,
                moved: false,
            },
            counter,
            attempts: 0,
            lease: None,
        });
        if rules.announced_before_the_step {
            self.announce(at, Some(key), self.counter + 1);
        }
    }

    fn announce(&mut self, at: usize, opening: Option<Key>, counter: Counter) {
        let Some(disk) = &mut self.disks[at] else {
            return;
        };
        let announcement = Announcement {
            opening,
            counter,
            size: disk.size,
        };
        disk.announced.insert(announcement);
        self.announced.insert(announcement);
    }

    fn announce_step(&mut self, rules: &Rules, at: usize, close: bool) {
        let Some(process) = &mut self.processes[at] else {
            return;
        };
        if close {
            process.lease = None;
        }
        let fruitless = self.counter.saturating_sub(process.counter);
        if fruitless > process.attempts && rules.foreign_steps_end_the_renewals {
            return;
        }
        let (key, told) = (process.key, fruitless.min(process.attempts));
        (process.counter, process.attempts) = (self.counter, 1);
        process.phase = Phase::Stepping {
            close,
            next: self.counter + 1,
            moved: false,
        };
        if told > 0 {
            self.append(at, key, Body::Failed(told));
        }
        if rules.announced_before_the_step {
            self.announce(at, None, self.counter + 1);
        }
    }

    fn increment(&mut self, at: usize) {
        if self.counter >= self.left.counter {
            return;
        }
        self.counter += 1;
        let reached = self.counter;
        let Some(process) = &mut self.processes[at] else {
            return;
        };
        let opening = matches!(process.phase, Phase::Opening { .. });
        let as_announced = match &mut process.phase {
            Phase::Opening {
                abandoned,
                recovered,
                moved,
            } => {
                *moved = true;
                let before = recovered.or(abandoned.last().map(|(counter, _)| *counter));
                reached == before.unwrap_or(process.counter) + 1
            }
            Phase::Stepping { next, moved, .. } => {
                *moved = true;
                reached == *next
            }
            Phase::Serving => true,
        };
        if !as_announced {
            // An opening that reaches another value than it announced ends the program.
            if opening {
                self.processes[at] = None;
            } else {
                self.give_up(at);
            }
        }
    }

    /// A step that came to nothing. A close that did leaves the process without a lease.
    fn give_up(&mut self, at: usize) {
        if let Some(process) = &mut self.processes[at] {
            process.phase = Phase::Serving;
        }
    }

    fn enter(&mut self, rules: &Rules, at: usize) {
        let Some(process) = self.processes[at].clone() else {
            return;
        };
        let Some(disk) = &self.disks[at] else { return };
        let over = Head::of(self.log_on(disk));
        let certified = self.counter;
        match process.phase {
            Phase::Opening {
                abandoned,
                recovered,
                ..
            } => {
                let before = recovered.or(abandoned.last().map(|(counter, _)| *counter));
                let claimed = before.unwrap_or(process.counter) + 1;
                let step = Step {
                    claimed,
                    certified,
                    over,
                };
                let body = Body::Base {
                    step,
                    explained: process.counter,
                    abandoned,
                };
                self.append(at, process.key, body);
                if let Some(found) = recovered {
                    let explained = process.counter;
                    self.append(at, process.key, Body::Gap { explained, found });
                }
                let lease = (!rules.renewal_before_the_first_call).then_some(claimed);
                self.serve(at, claimed, lease, AnnouncementsSpent::All);
            }
            Phase::Stepping { close, next, .. } => {
                let step = Step {
                    claimed: next,
                    certified,
                    over,
                };
                if close {
                    self.append(at, process.key, Body::Close(step));
                    self.spend(at, AnnouncementsSpent::Renewals);
                    self.processes[at] = None;
                } else {
                    self.append(at, process.key, Body::Renewal(step));
                    self.serve(at, next, Some(next), AnnouncementsSpent::Renewals);
                }
            }
            Phase::Serving => {}
        }
    }

    fn serve(
        &mut self,
        at: usize,
        counter: Counter,
        lease: Option<Counter>,
        spent: AnnouncementsSpent,
    ) {
        self.spend(at, spent);
        if let Some(process) = &mut self.processes[at] {
            process.phase = Phase::Serving;
            (process.counter, process.attempts) = (counter, 0);
            process.lease = lease.or(process.lease);
        }
    }

    fn spend(&mut self, at: usize, spent: AnnouncementsSpent) {
        if let Some(disk) = &mut self.disks[at] {
            match spent {
                AnnouncementsSpent::All => disk.announced.clear(),
                AnnouncementsSpent::Renewals => disk.announced.retain(|a| a.opening.is_some()),
            }
        }
    }

    fn call(&mut self, at: usize) {
        let Some(process) = &self.processes[at] else {
            return;
        };
        let (key, Some(lease)) = (process.key, process.lease) else {
            return;
        };
        let id = self.left.calls;
        self.left.calls -= 1;
        self.append(at, key, Body::Call { id, lease });
    }

    fn append(&mut self, at: usize, key: Key, body: Body) {
        let Some(disk) = &mut self.disks[at] else {
            return;
        };
        let entry = Entry { key, body };
        if disk.size < self.logs[disk.log].len() {
            // The disk holds the beginning of a log that went on elsewhere.
            let fork = self.logs[disk.log][..disk.size].to_vec();
            self.logs.push(Rc::new(fork));
            disk.log = self.logs.len() - 1;
        }
        Rc::make_mut(&mut self.logs[disk.log]).push(entry);
        disk.size += 1;
    }

    fn restore(&mut self, at: usize, prefix: Prefix) {
        self.left.restores -= 1;
        self.meddled = true;
        self.disks[at] = Some(Disk {
            log: prefix.log,
            size: prefix.size,
            announced: self.announced.clone(),
        });
    }

    fn submit(&mut self, rules: &Rules, prefix: Prefix) {
        self.left.submissions -= 1;
        let grew = self.witness.cosigned.last().is_none_or(|last| {
            let (new, old) = (self.entries(prefix), self.entries(*last));
            new.starts_with(old)
        });
        if !grew {
            return;
        }
        if rules.the_witness_is_atomic {
            self.witness.cosigned.push(prefix);
        } else {
            self.witness.compared.push(prefix);
        }
    }
}

/// Which announcements an entry makes needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnnouncementsSpent {
    All,
    Renewals,
}
