//! `cargo run -p countersign-tests --example crash_rounds N`: the crash matrix, N rounds of each kind.

use countersign_tests::crash::{rounds_of_boots, rounds_under_load};

/// Rounds on one machine: a log that stays short is judged quickly.
const PER_MACHINE: u64 = 10;

fn main() {
    let asked = std::env::args().nth(1).and_then(|n| n.parse::<u64>().ok());
    let Some(rounds) = asked else {
        println!("usage: crash_rounds N");
        std::process::exit(4);
    };
    let mut left = rounds;
    while left > 0 {
        let now = left.min(PER_MACHINE);
        println!("load  {}", rounds_under_load(now).sentence());
        println!("boots {}", rounds_of_boots(now).sentence());
        left = left.saturating_sub(now);
    }
}
