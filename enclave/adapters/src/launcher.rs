//! A program that is started by another one, which confines itself first and says how far.
//!
//! In: the launcher's word, one line on the error stream before the program's first. Out: the layers that are in force, and
//! where there is one the listening socket of the program's own network. What follows that line is the program's.

use std::ffi::OsString;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::Deserialize;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::call::StartError;
use crate::dial::Network;

/// Who starts a program.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The launcher.
    pub program: OsString,
    /// Its arguments; the program's command line comes after them and `--`.
    pub arguments: Vec<OsString>,
    /// What stands before the layers wherever they are told: what they were made from.
    pub label: String,
    /// Who serves the program's own network, if it has one.
    pub network: Option<Arc<dyn Network>>,
}

/// Longest word of a launcher, in bytes.
const MAX_WORD_BYTES: usize = 4096;

/// What a launcher said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) layers: Vec<String>,
    pub(crate) listener: Option<OwnedFd>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    layers: Vec<String>,
    refused: Option<String>,
}

/// Waits for a launcher's word.
pub(crate) async fn hear(stream: &UnixStream) -> Result<Said, StartError> {
    let refused = |reason: &str| StartError::Sandbox {
        reason: reason.to_owned(),
    };
    let mut word = Vec::new();
    let mut listener = None;
    let line = loop {
        if let Some(end) = word.iter().position(|byte| *byte == b'\n') {
            break word.get(..end).unwrap_or_default();
        }
        if word.len() >= MAX_WORD_BYTES {
            return Err(refused("the launcher says too much"));
        }
        let received = stream
            .async_io(Interest::READABLE, || receive(stream, &mut listener))
            .await;
        match received {
            Ok(bytes) if !bytes.is_empty() => word.extend(bytes),
            Ok(_) | Err(_) => return Err(refused("the launcher ended without a word")),
        }
    };
    let line: Line =
        serde_json::from_slice(line).map_err(|_| refused("the launcher says what is not known"))?;
    match line.refused {
        Some(reason) => Err(StartError::Sandbox { reason }),
        None => Ok(Said {
            layers: line.layers,
            listener,
        }),
    }
}

fn receive(stream: &UnixStream, listener: &mut Option<OwnedFd>) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0u8; MAX_WORD_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(stream.as_fd(), &mut slices, &mut ancillary, flags)?;
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = part {
            *listener = files.last();
        }
    }
    buffer.truncate(message.bytes);
    Ok(buffer)
}
