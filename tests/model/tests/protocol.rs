//! The protocol holds within the bounds, and each of its rules is needed.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking; the lints know test functions but not their helpers"
)]

use countersign_model::claims::Broken;
use countersign_model::search::explore;
use countersign_model::{Bounds, Counted, Rules};

/// Nobody meddles: crashes and lost answers alone.
const HONEST: Bounds = Bounds {
    disks: 1,
    counter: 6,
    boots: 4,
    calls: 2,
    crashes: 3,
    failures: 1,
    restores: 0,
    recoveries: 0,
    submissions: 0,
};

/// One machine, whose disk is put back.
const ONE: Bounds = Bounds {
    calls: 3,
    crashes: 1,
    restores: 1,
    recoveries: 1,
    boots: 3,
    ..HONEST
};

/// The disk is copied, and two gateways run on one TPM.
const TWO: Bounds = Bounds {
    disks: 2,
    counter: 5,
    calls: 2,
    failures: 0,
    recoveries: 0,
    ..ONE
};

/// The same, before a witness.
const WITNESSED: Bounds = Bounds {
    counter: 4,
    boots: 2,
    calls: 1,
    submissions: 2,
    ..TWO
};

#[track_caller]
fn holds(bounds: Bounds, rules: Rules) {
    let found = explore(bounds, &rules);
    println!("{} states, {} steps deep", found.states, found.depth);
    if let Some(example) = found.counterexample {
        panic!("{:?} by {:#?}", example.broken, example.steps);
    }
}

#[track_caller]
fn breaks(bounds: Bounds, rules: Rules) -> Broken {
    let found = explore(bounds, &rules);
    let example = found.counterexample.expect("a counterexample");
    println!("{:?} by {:?}", example.broken, example.steps);
    example.broken
}

// What holds.

#[test]
fn crashes_and_lost_answers_alone_hold_no_gateway_and_spoil_no_export() {
    holds(HONEST, Rules::ALL);
}

#[test]
fn a_disk_put_back_hides_no_more_than_the_verifier_says() {
    holds(ONE, Rules::ALL);
}

#[test]
fn two_gateways_on_one_tpm_hide_no_more_than_the_verifier_says() {
    holds(TWO, Rules::ALL);
}

#[test]
fn a_witness_cosigns_one_history_and_nothing_shorter_passes() {
    holds(WITNESSED, Rules::ALL);
}

#[test]
fn a_gateway_that_does_not_mind_others_steps_is_caught_by_the_verifier() {
    let rules = Rules {
        foreign_steps_end_the_renewals: false,
        ..Rules::ALL
    };
    holds(TWO, rules);
}

#[test]
fn a_gateway_that_is_not_held_is_caught_by_the_verifier() {
    let rules = Rules {
        unexplained_steps_hold_the_gateway: false,
        ..Rules::ALL
    };
    holds(TWO, rules);
}

// Each rule is needed.

#[test]
fn announcements_that_count_beside_any_log_hide_many_leases_in_silence() {
    let rules = Rules {
        announcements_bound_to_the_log: false,
        ..Rules::ALL
    };
    assert!(matches!(breaks(ONE, rules), Broken::SilentlyLong { .. }));
}

#[test]
fn announcements_after_the_step_hold_a_gateway_for_a_crash() {
    let rules = Rules {
        announced_before_the_step: false,
        ..Rules::ALL
    };
    assert_eq!(breaks(HONEST, rules), Broken::HeldForNothing);
}

#[test]
fn calls_before_the_first_renewal_are_hidden_by_their_own_opening() {
    let rules = Rules {
        renewal_before_the_first_call: false,
        ..Rules::ALL
    };
    assert!(matches!(breaks(ONE, rules), Broken::LeasesMissing { .. }));
}

#[test]
fn steps_within_an_epoch_that_nobody_counts_hide_a_copy_of_the_gateway() {
    let rules = Rules {
        foreign_steps_end_the_renewals: false,
        steps_within_an_epoch_are_counted: false,
        ..Rules::ALL
    };
    assert!(matches!(breaks(TWO, rules), Broken::CallMissing { .. }));
}

#[test]
fn steps_between_epochs_that_nobody_counts_hide_whole_leases() {
    let rules = Rules {
        unexplained_steps_hold_the_gateway: false,
        steps_between_epochs_are_counted: false,
        ..Rules::ALL
    };
    assert!(matches!(breaks(ONE, rules), Broken::LeasesMissing { .. }));
}

#[test]
fn lost_renewals_that_nobody_counts_hide_a_lease() {
    let rules = Rules {
        abandoned_steps_are_counted: Counted::None,
        ..Rules::ALL
    };
    assert!(matches!(breaks(ONE, rules), Broken::LeasesMissing { .. }));
}

/// The way that this model found: a copy of an older disk announces an opening and does not make it, and the
/// running gateway makes that very step for a renewal. Put back, the copy's announcement explains the renewal away.
#[test]
fn an_announced_opening_that_counts_for_nothing_hides_a_renewal_of_another_copy() {
    let rules = Rules {
        abandoned_steps_are_counted: Counted::RenewalsOnly,
        ..Rules::ALL
    };
    assert!(matches!(breaks(TWO, rules), Broken::LeasesMissing { .. }));
}

#[test]
fn a_gap_that_counts_for_nothing_hides_leases() {
    let rules = Rules {
        unexplained_steps_are_counted: false,
        ..Rules::ALL
    };
    assert!(matches!(breaks(ONE, rules), Broken::LeasesMissing { .. }));
}

#[test]
fn a_witness_that_compares_before_it_remembers_cosigns_two_histories() {
    let rules = Rules {
        the_witness_is_atomic: false,
        ..Rules::ALL
    };
    assert_eq!(breaks(WITNESSED, rules), Broken::TwoHistories);
}

#[test]
fn an_auditor_who_does_not_ask_the_witness_accepts_a_shorter_log() {
    let rules = Rules {
        the_auditor_asks_the_witness: false,
        ..Rules::ALL
    };
    let broken = breaks(WITNESSED, rules);
    assert!(matches!(broken, Broken::UnlikeTheWitness { .. }));
}
