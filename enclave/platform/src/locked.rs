//! Secrets in memory of their own: never swapped, never dumped, wiped when dropped.
//!
//! In: a function that fills the bytes in place. Out: [`LockedSecret`], which lends them.
//! The bytes live in an anonymous mapping that holds nothing else, because locking works on
//! whole pages and does not nest: two secrets on one page would unlock each other.
//! Inside a confidential VM this keeps keys out of swap and core dumps, which the operator owns.

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
use std::io;
use std::ptr::NonNull;
use zeroize::Zeroize as _;

/// Memory for a secret could not be had or locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// No memory.
    #[error("no memory for a secret: {0}")]
    Map(io::ErrorKind),
    /// The limit of locked memory is too low.
    #[error(
        "memory for a secret cannot be locked ({0}); raise the limit of locked memory (RLIMIT_MEMLOCK)"
    )]
    Lock(io::ErrorKind),
    /// The kernel does not leave the memory out of core dumps.
    #[error("memory for a secret cannot be left out of core dumps: {0}")]
    Dump(io::ErrorKind),
}

/// `N` secret bytes in locked memory. Not printable, not cloneable.
///
/// ```compile_fail
/// let secret = countersign_platform::LockedSecret::<32>::filled(|_| ()).unwrap();
/// println!("{secret:?}");
/// ```
pub struct LockedSecret<const N: usize> {
    bytes: NonNull<[u8; N]>,
}

// SAFETY: the mapping is owned by this value alone and is plain bytes; moving the owner to
// another thread moves nothing else.
unsafe impl<const N: usize> Send for LockedSecret<N> {}
// SAFETY: through a shared reference the bytes can only be read.
unsafe impl<const N: usize> Sync for LockedSecret<N> {}

impl<const N: usize> LockedSecret<N> {
    const NOT_EMPTY: () = assert!(N > 0, "a secret has at least one byte");

    /// Memory for `N` bytes, zero at first and then filled in place, so that no copy is left behind.
    ///
    /// # Errors
    /// When memory cannot be had, locked or kept out of dumps.
    pub fn filled(fill: impl FnOnce(&mut [u8; N])) -> Result<Self, LockError> {
        let () = Self::NOT_EMPTY;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: the address is left to the kernel, so no existing mapping is touched.
        let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), N, protection, flags) };
        let mapped = mapped.map_err(|e| LockError::Map(e.kind()))?;
        let bytes = NonNull::new(mapped.cast::<[u8; N]>())
            .ok_or(LockError::Map(io::ErrorKind::OutOfMemory))?;
        // From here on dropping `secret` unmaps.
        let mut secret = Self { bytes };
        // SAFETY: the range is the mapping made above, which `secret` owns.
        unsafe { mlock(mapped, N) }.map_err(|e| LockError::Lock(e.kind()))?;
        // SAFETY: the range is the mapping made above; this advice changes only what a dump contains.
        unsafe { madvise(mapped, N, Advice::LinuxDontDump) }
            .map_err(|e| LockError::Dump(e.kind()))?;
        fill(secret.expose_mut());
        Ok(secret)
    }

    /// Copies a secret in; the caller wipes its own.
    ///
    /// # Errors
    /// As [`LockedSecret::filled`].
    pub fn copied(secret: &[u8; N]) -> Result<Self, LockError> {
        Self::filled(|bytes| bytes.copy_from_slice(secret))
    }

    /// The secret. Every use of this is a place where it can leak.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        // SAFETY: the mapping is N bytes long, page-aligned, initialized (with zeros by the kernel)
        // and lives as long as `self`; nobody writes while `self` is borrowed shared.
        unsafe { self.bytes.as_ref() }
    }

    fn expose_mut(&mut self) -> &mut [u8; N] {
        // SAFETY: as in `expose`; `self` is borrowed exclusively.
        unsafe { self.bytes.as_mut() }
    }
}

impl<const N: usize> Drop for LockedSecret<N> {
    fn drop(&mut self) {
        self.expose_mut().zeroize();
        // SAFETY: the range is this value's own mapping, to which no reference is left.
        // Unmapping also unlocks. It cannot fail for a range that was mapped; were it to, the
        // bytes are wiped already.
        let _unmapped = unsafe { munmap(self.bytes.as_ptr().cast(), N) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_holds_what_it_was_filled_with() {
        assert_eq!(
            LockedSecret::<32>::copied(&[7; 32]).unwrap().expose(),
            &[7; 32]
        );
    }

    #[test]
    fn a_secret_may_be_longer_than_a_page() {
        let secret = LockedSecret::<5000>::filled(|bytes| bytes.fill(9)).unwrap();
        assert_eq!(secret.expose(), &[9; 5000]);
    }

    #[test]
    fn dropping_one_secret_leaves_another_locked() {
        let (one, other) = (
            LockedSecret::copied(&[1; 32]).unwrap(),
            LockedSecret::copied(&[2; 32]).unwrap(),
        );
        drop(one);
        let address = other.expose().as_ptr().addr();
        // "VmFlags: rd wr mr mw me lo dd ac": lo is locked, dd is left out of dumps.
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        let flags = maps.lines().find(|line| {
            if let Some((start, end)) = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'))
            {
                let parse = |s| usize::from_str_radix(s, 16);
                if let (Ok(start), Ok(end)) = (parse(start), parse(end)) {
                    inside = (start..end).contains(&address);
                }
            }
            inside && line.starts_with("VmFlags:")
        });
        let flags: Vec<&str> = flags.unwrap().split_whitespace().collect();
        assert!(flags.contains(&"lo") && flags.contains(&"dd"), "{flags:?}");
    }

    #[test]
    fn a_secret_can_move_to_another_thread() {
        let secret = LockedSecret::copied(&[3; 32]).unwrap();
        assert_eq!(
            std::thread::spawn(move || *secret.expose()).join().unwrap(),
            [3; 32]
        );
    }
}
