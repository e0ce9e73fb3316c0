//! Files of the gateway, and of whoever started it, that a program must not have.
//!
//! Those that the gateway opens are closed when a program is executed; those that it was started with need not be.

use anyhow::{Context as _, ensure};

/// First number after the three streams.
const FIRST: u32 = 3;

/// `CLOSE_RANGE_CLOEXEC` of linux/close_range.h.
const AT_EXECUTION: u32 = 1 << 2;

/// Has every file but the three streams closed when the program is executed, and looks whether it will be.
///
/// # Errors
/// If one would be inherited.
pub(super) fn close_at_execution() -> anyhow::Result<()> {
    mark()?;
    for entry in std::fs::read_dir("/proc/self/fd").context("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))
            .with_context(|| format!("/proc/self/fdinfo/{number}"))?;
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|f| u64::from_str_radix(f.trim(), 8).ok());
        let closed = flags.is_some_and(|f| f & 0o2_000_000 != 0);
        ensure!(
            number < FIRST || closed,
            "file {number} of the gateway would be inherited"
        );
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "no dependency has a safe form of close_range(2) that only marks"
)]
fn mark() -> anyhow::Result<()> {
    // SAFETY: the call takes three numbers and no memory. With this flag it closes nothing now, so no file that somebody
    // in this process holds is taken away.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, AT_EXECUTION) };
    ensure!(
        outcome == 0,
        "close_range: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}
