//! A network of a program's own: a loopback interface, and on it a listening socket that the gateway holds.
//!
//! The socket is made by the launcher, inside, and handed to the gateway, outside: so the gateway accepts what comes from
//! there without a process between, and without a file or a port that anybody else could reach.
//!
//! SPEC: network_namespaces(7), user_namespaces(7); rtnetlink(7) for the interface.

use anyhow::{Context as _, bail, ensure};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::process::{getgid, getuid};
use rustix::thread::UnshareFlags;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};

/// The loopback interface is the first of every network.
const LOOPBACK: i32 = 1;

/// `RTM_NEWLINK` of linux/rtnetlink.h.
const NEW_LINK: u16 = 16;

/// `NLM_F_REQUEST | NLM_F_ACK` of linux/netlink.h.
const ASKS_AND_WANTS_AN_ANSWER: u16 = 1 | 4;

/// `NLMSG_ERROR` of linux/netlink.h; without an error it is the answer.
const ANSWER: u16 = 2;

/// `IFF_UP` of linux/if.h.
const UP: u32 = 1;

/// Leaves the network of the machine. By itself where this process is root, and otherwise inside a user namespace, where
/// the system lets everybody make one.
///
/// # Errors
/// If the system does not let it.
pub fn leave() -> anyhow::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    if uid.is_root() {
        unshared(UnshareFlags::NEWNET | UnshareFlags::NEWIPC)?;
    } else {
        unshared(UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWIPC)?;
        let (uid, gid) = (uid.as_raw(), gid.as_raw());
        // ORDER: user_namespaces(7): groups are given up before the map of groups can be written.
        fs::write("/proc/self/setgroups", "deny").context("setgroups")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).context("uid_map")?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).context("gid_map")?;
    }
    bring_up_loopback()
}

#[expect(
    deprecated,
    reason = "it was found unsound because it can unshare the table of files, which is never asked for here"
)]
fn unshared(flags: UnshareFlags) -> anyhow::Result<()> {
    rustix::thread::unshare(flags).context("unshare")
}

fn bring_up_loopback() -> anyhow::Result<()> {
    // The protocol of routes is the one that is meant without a number, NETLINK_ROUTE.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    let mut request = Vec::with_capacity(32);
    // struct nlmsghdr: length, type, flags, sequence, port.
    request.extend(32u32.to_ne_bytes());
    request.extend(NEW_LINK.to_ne_bytes());
    request.extend(ASKS_AND_WANTS_AN_ANSWER.to_ne_bytes());
    request.extend(1u32.to_ne_bytes());
    request.extend(0u32.to_ne_bytes());
    // struct ifinfomsg: family, padding, type, index, flags, which flags change.
    request.extend([0u8, 0]);
    request.extend(0u16.to_ne_bytes());
    request.extend(LOOPBACK.to_ne_bytes());
    request.extend(UP.to_ne_bytes());
    request.extend(UP.to_ne_bytes());
    send(&socket, &request, SendFlags::empty())?;
    let mut answer = [0u8; 1024];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let answer = answer.get(..length).unwrap_or_default();
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok());
    let error = answer.get(16..20).and_then(|b| b.try_into().ok());
    match (kind.map(u16::from_ne_bytes), error.map(i32::from_ne_bytes)) {
        (Some(ANSWER), Some(0)) => Ok(()),
        (Some(ANSWER), Some(error)) => {
            let error = std::io::Error::from_raw_os_error(error.saturating_neg());
            Err(error).context("loopback interface")
        }
        (_, _) => bail!("loopback interface: no answer"),
    }
}

/// Where the program finds the proxy.
///
/// # Errors
/// If there is no port.
pub fn listen() -> anyhow::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for the proxy")?;
    let port = listener.local_addr()?.port();
    ensure!(port != 0, "a port for the proxy");
    Ok((listener, port))
}
