//! How many files this process may have open, and so how many connections.
//!
//! In: the system's limits. Out: the number of connections that are served at one time. The soft limit that programs
//! commonly start with (1,024) is raised as far as is needed and the hard limit allows; not further, because some
//! programs that the gateway starts close each number up to it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections at one time, where the system allows for as many.
///
/// 10,000 idle sessions are asked for; the rest is room for those that come and go. Bounds memory: measured, an idle
/// one takes 31 KiB over TLS (`docs/performance.md`); a head as long as it may be 64 KiB more, so all of them 1.5 GiB.
pub const MAX_CONNECTIONS: usize = 16 * 1024;

/// Files beside connections: the log, upstreams' pipes and sockets, witnesses.
const OTHER_FILES: u64 = 2048;

/// Fewest connections that are of any use.
const FEWEST: usize = 64;

/// Raises the limit of open files as far as is needed; how many connections fit.
#[must_use]
pub fn room_for_connections() -> usize {
    let wanted = u64::try_from(MAX_CONNECTIONS)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let reachable = maximum.map_or(wanted, |m| m.min(wanted));
    // `None` is no limit.
    let now = match current {
        Some(current) if current < reachable => {
            let raised = setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: Some(reachable),
                    maximum,
                },
            );
            if raised.is_ok() { reachable } else { current }
        }
        Some(current) => current,
        None => wanted,
    };
    room(now)
}

/// Connections that fit among so many files.
fn room(files: u64) -> usize {
    // Where there are few, half of them are kept for the rest.
    let rest = OTHER_FILES.min(files / 2);
    usize::try_from(files.saturating_sub(rest))
        .unwrap_or(MAX_CONNECTIONS)
        .clamp(FEWEST, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_connections_keep_their_room() {
        assert_eq!(room(1024), 512);
        assert_eq!(room(4096), 2048);
        assert_eq!(room(20_000), MAX_CONNECTIONS);
        assert_eq!(room(12_048), 10_000);
        assert_eq!(room(u64::MAX), MAX_CONNECTIONS);
        assert_eq!(room(0), FEWEST);
    }
}
