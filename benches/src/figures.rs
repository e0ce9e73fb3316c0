//! Percentiles, what the machine is and does meanwhile, and what a flush costs.

use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A value such that `percent` of the sorted ones are not above it.
#[must_use]
pub fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    let at = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted.get(at.min(last)).copied().unwrap_or(0)
}

/// The mean, in the values' unit.
#[must_use]
pub fn mean(values: &[u32]) -> f64 {
    let sum: u64 = values.iter().map(|v| u64::from(*v)).sum();
    sum as f64 / values.len().max(1) as f64
}

/// Runnable processes over the last minute, as the system counts them.
#[must_use]
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// One line each about machine and system.
#[must_use]
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .and_then(|l| l.split_once(':'))
        .map_or("?", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores of {model}, Linux {}, load average {}",
        kernel.trim(),
        load_average()
    )
}

/// Processor time that a process has used, in microseconds.
///
/// Source: proc(5), fields `utime` and `stime` of `/proc/<pid>/stat`, in ticks of 10 ms.
#[must_use]
pub fn cpu_micros(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<u64>().ok())
        .sum();
    ticks * 10_000
}

/// Memory of a process in KiB: resident now, and at its peak.
#[must_use]
pub fn memory_kib(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |key: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(key))
            .and_then(|l| l.trim().split(' ').next()?.parse().ok())
            .unwrap_or(0)
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// A bare flush: 2 KiB written into a preallocated file, then `fdatasync`.
pub struct Flush {
    file: File,
    offset: u64,
}

const FLUSH_FILE_BYTES: u64 = 64 << 20;
const FLUSH_BYTES: [u8; 2048] = [7; 2048];

impl Flush {
    /// Preallocates the file in `dir`.
    ///
    /// # Errors
    /// If there is no room.
    pub fn new(dir: &Path) -> Result<Self> {
        let path = dir.join("flush");
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        // Written once, so that the flush does not also have to mark blocks as used.
        let mebibyte = vec![0u8; 1 << 20];
        for i in 0..FLUSH_FILE_BYTES >> 20 {
            file.write_all_at(&mebibyte, i << 20)?;
        }
        file.sync_all()?;
        Ok(Self { file, offset: 0 })
    }

    /// One flush.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn once(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.file.write_all_at(&FLUSH_BYTES, self.offset)?;
        self.file.sync_data()?;
        self.offset = (self.offset + 2048) % FLUSH_FILE_BYTES;
        Ok(began.elapsed())
    }

    /// p50 and p99 of `count` flushes one after another, in microseconds.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn measure(&mut self, count: usize) -> Result<(u32, u32)> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.push(micros(self.once()?));
        }
        times.sort_unstable();
        Ok((percentile(&times, 50.0), percentile(&times, 99.0)))
    }
}

/// Whole microseconds.
#[must_use]
pub fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Prints what a program says of itself at its top, if it is asked to.
pub fn helps(source: &str) -> bool {
    let asked = std::env::args().any(|arg| arg == "-h" || arg == "--help");
    if asked {
        for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
            println!("{}", line.trim_start());
        }
    }
    asked
}
