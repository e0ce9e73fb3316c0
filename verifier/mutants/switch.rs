//! The switch of woven code: which mutant a process runs, and what it reaches.
//!
//! In: `COUNTERSIGN_MUTANT`, "function number", or nothing for the code as it is; `COUNTERSIGN_MUTANT_REACHED`, a file to
//! which each place is added when the process comes to it first. Child processes inherit both.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::{LazyLock, Mutex};

static CHOSEN: LazyLock<(u64, u32)> = LazyLock::new(|| {
    let text = std::env::var("COUNTERSIGN_MUTANT").unwrap_or_default();
    let mut words = text.split(' ');
    let function = words.next().and_then(|word| word.parse().ok());
    let number = words.next().and_then(|word| word.parse().ok());
    function.zip(number).unwrap_or((0, 0))
});

static REACHED: LazyLock<Option<Mutex<(File, BTreeSet<u64>)>>> = LazyLock::new(|| {
    let path = std::env::var_os("COUNTERSIGN_MUTANT_REACHED")?;
    let file = OpenOptions::new().create(true).append(true).open(path).expect("file for what is reached");
    Some(Mutex::new((file, BTreeSet::new())))
});

/// Notes that `place` was reached, where somebody asked.
pub fn reached(place: u64) {
    if let Some(reached) = &*REACHED {
        let mut reached = reached.lock().expect("no panic while it is held");
        if reached.1.insert(place) {
            // One write of a short line: programs that append at the same time do not mix theirs.
            reached.0.write_all(format!("{place}\n").as_bytes()).expect("what is reached is written");
        }
    }
}

/// The number of the mutant of `function` that is on; 0 if none of its mutants is.
#[must_use]
pub fn chosen(function: u64) -> u32 {
    reached(function);
    if CHOSEN.0 == function { CHOSEN.1 } else { 0 }
}
