//! Breadth first through every reachable state.

use crate::claims::{Broken, broken};
use crate::steps::{Action, actions, after};
use crate::world::World;
use crate::{Bounds, Rules};
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// How many states it visited.
    pub states: usize,
    /// Steps of the longest history that it visited.
    pub depth: usize,
    /// A shortest history in which something is not true.
    pub counterexample: Option<Counterexample>,
}

/// A history in which something is not true.
#[derive(Debug)]
pub struct Counterexample {
    /// What.
    pub broken: Broken,
    /// Its steps.
    pub steps: Vec<Action>,
    /// Where it ends.
    pub world: World,
}

/// Visits every state within the bounds, until one breaks a claim.
#[must_use]
pub fn explore(bounds: Bounds, rules: &Rules) -> Found {
    walk(bounds, rules, |world| broken(world, rules))
}

/// Visits every state within the bounds, until `judge` finds something.
///
/// States that were visited are known by 128 bits of their hash; a state that was wrongly taken for another has a
/// chance below 10⁻²⁵ at a million states. Only states that are still to be visited are kept whole.
pub fn walk(
    bounds: Bounds,
    rules: &Rules,
    mut judge: impl FnMut(&World) -> Option<Broken>,
) -> Found {
    let first = World::new(bounds);
    let mut known = HashSet::from([fingerprint(&first)]);
    // How each state was reached; nothing for the first.
    let mut reached: Vec<Option<(usize, Action)>> = vec![None];
    let mut waiting = VecDeque::from([(0, 0, first)]);
    let mut depth = 0;
    while let Some((number, steps, world)) = waiting.pop_front() {
        depth = steps;
        if let Some(broken) = judge(&world) {
            return Found {
                states: reached.len(),
                depth,
                counterexample: Some(Counterexample {
                    broken,
                    steps: history(&reached, number),
                    world,
                }),
            };
        }
        for action in actions(&world, rules) {
            let then = after(&world, rules, action);
            if known.insert(fingerprint(&then)) {
                waiting.push_back((reached.len(), steps + 1, then));
                reached.push(Some((number, action)));
            }
        }
    }
    Found {
        states: reached.len(),
        depth,
        counterexample: None,
    }
}

fn fingerprint(world: &World) -> (u64, u64) {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, world).hash(&mut hasher);
        hasher.finish()
    };
    (half(0), half(1))
}

fn history(reached: &[Option<(usize, Action)>], last: usize) -> Vec<Action> {
    let mut steps: Vec<Action> = std::iter::successors(reached[last], |(at, _)| reached[*at])
        .map(|(_, action)| action)
        .collect();
    steps.reverse();
    steps
}
