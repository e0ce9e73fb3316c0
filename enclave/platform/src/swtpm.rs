//! A private software TPM for the demo, tests and `countersign dev`. Never started by `serve`.
//!
//! In: a state directory. Out: a running `swtpm` with an address, ended when dropped. Restarting
//! on the same directory is the same TPM after a reset; another directory is another TPM.
//! Ready means that this very process holds its two ports: it writes its process id into the
//! state directory after it has bound them, so another process on the ports is never mistaken
//! for ours.

use crate::transport::TpmAddress;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Attempts to find two free neighbouring ports.
const PORT_ATTEMPTS: u32 = 50;

/// Longest wait for one start, in steps of 2 ms: 10 s. It takes 3 to 6 ms on an idle machine.
const READY_STEPS: u32 = 5000;
const READY_STEP: Duration = Duration::from_millis(2);

/// Process id of the software TPM, which it writes itself once its ports are bound.
const PID_FILE: &str = "swtpm.pid";

/// Process id of who started it.
const OWNER_FILE: &str = "swtpm.owner";

/// A software TPM was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwtpmError {
    /// The program is not installed.
    #[error("swtpm is not installed (debian: apt-get install swtpm)")]
    NotInstalled,
    /// The program could not be started.
    #[error("swtpm could not be started: {0}")]
    Spawn(io::ErrorKind),
    /// The state directory cannot be used.
    #[error("state directory {path} cannot be used: {cause}")]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        cause: io::ErrorKind,
    },
    /// Another process runs a software TPM on the directory.
    #[error("state directory {path} is in use by swtpm {id}")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Process id of the software TPM.
        id: u32,
    },
    /// It ends at once; its last words.
    #[error("swtpm ended while starting: {words}")]
    Ended {
        /// What it wrote.
        words: String,
    },
    /// It does not become ready.
    #[error("swtpm was not ready after {seconds} s")]
    NotReady {
        /// Seconds waited.
        seconds: u64,
    },
}

/// A running software TPM.
pub struct Swtpm {
    child: Child,
    state: PathBuf,
    port: u16,
}

impl Swtpm {
    /// Starts a software TPM on a state directory, which is made if it is missing.
    ///
    /// One that runs on the directory already, and whose starter was killed, is ended first.
    ///
    /// # Errors
    /// When `swtpm` is not installed, the directory cannot be used or is in use, or it does not start.
    pub fn start(state: &Path) -> Result<Self, SwtpmError> {
        let state = prepare(state)?;
        let mut ended = SwtpmError::Ended {
            words: "no two free neighbouring ports".into(),
        };
        for _ in 0..PORT_ATTEMPTS {
            let Some(port) = free_pair() else { continue };
            match Self::start_on(&state, port) {
                // Somebody else may have taken a port in between; then another pair helps. Without a word
                // it ends when its own probe of the port loses that race.
                Err(SwtpmError::Ended { words })
                    if words.contains("in use") || words.trim().is_empty() =>
                {
                    ended = SwtpmError::Ended { words }
                }
                result => return result,
            }
        }
        Err(ended)
    }

    /// Starts a software TPM on a given port of 127.0.0.1 and the next one.
    ///
    /// # Errors
    /// As [`Swtpm::start`], or when the port is taken.
    pub fn start_at(state: &Path, port: u16) -> Result<Self, SwtpmError> {
        let state = prepare(state)?;
        Self::start_on(&state, port)
    }

    fn start_on(state: &Path, port: u16) -> Result<Self, SwtpmError> {
        let unusable = |error: io::Error| SwtpmError::StateDirectory {
            path: state.into(),
            cause: error.kind(),
        };
        let (pid_file, log_file) = (state.join(PID_FILE), state.join("swtpm.log"));
        match fs::remove_file(&pid_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
            Ok(()) | Err(_) => (),
        }
        let log = fs::File::create(&log_file).map_err(unusable)?;
        let mut command = Command::new("swtpm");
        command
            .args([
                "socket",
                "--tpm2",
                "--seccomp",
                "action=none",
                "--flags",
                "not-need-init,startup-clear",
            ])
            .arg("--tpmstate")
            .arg(option("dir=", state))
            .arg("--pid")
            .arg(option("file=", &pid_file))
            .args([
                "--server",
                &format!("type=tcp,port={port},bindaddr=127.0.0.1"),
            ])
            .args([
                "--ctrl",
                &format!(
                    "type=tcp,port={},bindaddr=127.0.0.1",
                    port.saturating_add(1)
                ),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Whoever ends its starter from a keyboard does not mean it: the starter still has to close its epoch.
            .process_group(0);
        let child = command.spawn().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                SwtpmError::NotInstalled
            } else {
                SwtpmError::Spawn(error.kind())
            }
        })?;
        // From here on dropping it ends the process.
        let mut this = Self {
            child,
            state: state.to_path_buf(),
            port,
        };
        let id = this.child.id().to_string();
        for _ in 0..READY_STEPS {
            if fs::read_to_string(&pid_file).is_ok_and(|text| text.trim() == id) {
                return Ok(this);
            }
            if this
                .child
                .try_wait()
                .map_err(|error| SwtpmError::Spawn(error.kind()))?
                .is_some()
            {
                let words = fs::read_to_string(&log_file).map_err(unusable)?;
                return Err(SwtpmError::Ended {
                    words: words.trim().replace('\n', "; "),
                });
            }
            std::thread::sleep(READY_STEP);
        }
        Err(SwtpmError::NotReady {
            seconds: READY_STEP.saturating_mul(READY_STEPS).as_secs(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> TpmAddress {
        TpmAddress::Tcp {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.port,
        }
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Ends it without warning and starts it again: the same TPM after a power cut. The address changes.
    ///
    /// # Errors
    /// As [`Swtpm::start`].
    pub fn restart(self) -> Result<Self, SwtpmError> {
        let state = self.state.clone();
        drop(self);
        Self::start(&state)
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        // Ended already, or cannot be ended: either way there is nothing further to do.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Makes the state directory this process's own.
fn prepare(state: &Path) -> Result<PathBuf, SwtpmError> {
    let unusable = |error: io::Error| SwtpmError::StateDirectory {
        path: state.into(),
        cause: error.kind(),
    };
    fs::create_dir_all(state).map_err(unusable)?;
    let state = state.canonicalize().map_err(unusable)?;
    end_orphan(&state)?;
    fs::write(state.join(OWNER_FILE), std::process::id().to_string()).map_err(unusable)?;
    Ok(state)
}

/// Ends a software TPM that runs on the directory and is no longer a child of who started it.
fn end_orphan(state: &Path) -> Result<(), SwtpmError> {
    let number = |name: &str| {
        fs::read_to_string(state.join(name))
            .ok()
            .and_then(|text| text.trim().parse().ok())
    };
    let (Some(id), owner) = (number(PID_FILE), number(OWNER_FILE)) else {
        return Ok(());
    };
    let Some(parent) = parent_of(id, state) else {
        return Ok(());
    };
    if owner == Some(parent) {
        return Err(SwtpmError::InUse {
            path: state.into(),
            id,
        });
    }
    let process = i32::try_from(id)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(process) = process {
        // It may just have ended by itself.
        let _ended = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
    for _ in 0..READY_STEPS {
        if parent_of(id, state).is_none() {
            return Ok(());
        }
        std::thread::sleep(READY_STEP);
    }
    Err(SwtpmError::InUse {
        path: state.into(),
        id,
    })
}

/// The parent of a process, if it is a software TPM on this directory and has not ended.
///
/// A process that has ended has no command line any more, also while nobody has waited for it.
fn parent_of(id: u32, state: &Path) -> Option<u32> {
    let command = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let argument = option("file=", &state.join(PID_FILE));
    command
        .split(|byte| *byte == 0)
        .find(|given| *given == argument.as_encoded_bytes())?;
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

/// `name=path` as one argument.
fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(name);
    argument.push(path);
    argument
}

/// A free port whose neighbour is free too: the TPM tools of most systems expect the control
/// port next to the command port.
fn free_pair() -> Option<u16> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let port = first.local_addr().ok()?.port();
    let _second = TcpListener::bind((Ipv4Addr::LOCALHOST, port.checked_add(1)?)).ok()?;
    Some(port)
}
