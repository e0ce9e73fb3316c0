//! seccomp: calls of the system that no tool needs, refused with `EPERM`.
//!
//! A list of what is refused, not of what is allowed: a tool is any program, in any language, and a list of what all of them
//! need would be long and wrong. It closes what the other layers leave open: other processes' memory, mounts and
//! namespaces, programs in the kernel, sockets of other families (among them Unix sockets by path, which Landlock
//! does not judge), and leaving the process group, by which the gateway ends a program and its children.
//!
//! SPEC: seccomp(2); the lists of moby and systemd (`@privileged`, `@debug`, `@mount`) for what is known to be misused.

use anyhow::Context as _;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};
use std::collections::BTreeMap;

/// What sockets a program may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// None; pairs of connected ones are no sockets in this sense.
    None,
    /// Streams of IPv4 and IPv6.
    Streams,
}

/// Refused whatever their arguments are.
const REFUSED: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    // Leaving the process group.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_personality,
    libc::SYS_vhangup,
    // System V and POSIX messages, which reach beyond the program.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Of x86-64 alone.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// Flags of clone(2) that make namespaces: all `CLONE_NEW…`.
const NAMESPACES: u64 = 0x7e02_0080;

/// Numbers of the x32 interface have this bit, and are otherwise those of x86-64.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// ptrace, process_vm_readv, process_vm_writev and others have numbers of their own there: 512 to 547 (arch/x86/entry).
#[cfg(target_arch = "x86_64")]
const X32_OWN: std::ops::RangeInclusive<i64> = 512..=547;

/// The type of a socket, without flags (`SOCK_TYPE_MASK` of the kernel).
const TYPE_MASK: u64 = 0xf;

/// Puts the filters on this process and what it becomes.
///
/// # Errors
/// If the kernel has none.
pub fn confine(sockets: Sockets) -> anyhow::Result<()> {
    // Told that it does not exist, a C library falls back to clone(2), whose flags can be seen.
    let clone3 = filter(vec![(libc::SYS_clone3, Vec::new())], libc::ENOSYS)?;
    let rest = filter(rules(sockets)?, libc::EPERM)?;
    apply_filter(&clone3).context("seccomp")?;
    apply_filter(&rest).context("seccomp")?;
    Ok(())
}

type Rules = Vec<(i64, Vec<SeccompRule>)>;

fn rules(sockets: Sockets) -> anyhow::Result<Rules> {
    let mut out: Rules = [REFUSED, REFUSED_HERE]
        .concat()
        .into_iter()
        .map(|number| (number, Vec::new()))
        .collect();
    let mut namespaces = Vec::new();
    for bit in (0..32)
        .map(|n| 1u64 << n)
        .filter(|bit| NAMESPACES & bit != 0)
    {
        namespaces.push(rule(vec![masked(0, bit, bit)?])?);
    }
    out.push((libc::SYS_clone, namespaces));
    out.push((libc::SYS_socket, refused_sockets(sockets)?));
    Ok(out)
}

fn refused_sockets(sockets: Sockets) -> anyhow::Result<Vec<SeccompRule>> {
    let (four, six) = (number(libc::AF_INET)?, number(libc::AF_INET6)?);
    let stream = number(libc::SOCK_STREAM)?;
    match sockets {
        // No rule: whatever the arguments.
        Sockets::None => Ok(Vec::new()),
        Sockets::Streams => {
            let mut out = vec![rule(vec![
                compared(0, SeccompCmpOp::Ne, four)?,
                compared(0, SeccompCmpOp::Ne, six)?,
            ])?];
            for kind in (0..=TYPE_MASK).filter(|kind| *kind != stream) {
                out.push(rule(vec![masked(1, TYPE_MASK, kind)?])?);
            }
            Ok(out)
        }
    }
}

fn number(constant: i32) -> anyhow::Result<u64> {
    u64::try_from(constant).context("a constant of the system is negative")
}

fn rule(conditions: Vec<SeccompCondition>) -> anyhow::Result<SeccompRule> {
    SeccompRule::new(conditions).context("seccomp rule")
}

fn masked(argument: u8, mask: u64, value: u64) -> anyhow::Result<SeccompCondition> {
    compared(argument, SeccompCmpOp::MaskedEq(mask), value)
}

/// The kernel looks at 32 bits of these arguments.
fn compared(argument: u8, operator: SeccompCmpOp, value: u64) -> anyhow::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .context("seccomp condition")
}

fn filter(rules: Rules, errno: i32) -> anyhow::Result<BpfProgram> {
    let mut all: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (number, rules) in rules {
        #[cfg(target_arch = "x86_64")]
        all.insert(number | X32, rules.clone());
        all.insert(number, rules);
    }
    #[cfg(target_arch = "x86_64")]
    for own in X32_OWN {
        all.insert(own | X32, Vec::new());
    }
    let errno = u32::try_from(errno).context("errno")?;
    let arch = std::env::consts::ARCH.try_into().context("seccomp")?;
    let action = SeccompAction::Errno(errno);
    let filter = SeccompFilter::new(all, SeccompAction::Allow, action, arch);
    filter.context("seccomp")?.try_into().context("seccomp")
}
