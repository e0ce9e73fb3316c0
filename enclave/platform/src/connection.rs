//! One command after another over one pipe: framing, authorization, retries, answers.
//!
//! In: a [`Request`]. Out: a [`Reply`] whose session codes were verified, or a [`TpmError`] that
//! names the command. Under `/dev/tpmrm0` handles and sessions belong to one open file, which is
//! why everything goes through here.
//!
//! SPEC: TPM 2.0 Part 1, 18 (structure of commands and responses).

use crate::error::{TpmError, base};
use crate::policy::NvName;
use crate::session::{
    Opening, Protect, SaltKey, Session, SessionKind, SessionResponse, start_parameters,
};
use crate::transport::{Channel, TpmAddress};
use crate::wire::{HEADER_BYTES, Reader, WireError, Writer};
use sha2::{Digest as _, Sha256};
use std::io;
use std::time::Duration;
use zeroize::Zeroizing;

/// `TPM_ST_NO_SESSIONS`, `TPM_ST_SESSIONS`. Source: Part 2, table 19.
const ST_NO_SESSIONS: u16 = 0x8001;
const ST_SESSIONS: u16 = 0x8002;

/// `TPM_RH_NULL`. Source: Part 2, table 28.
const RH_NULL: u32 = 0x4000_0007;

/// Answers that mean "ask again": yielded, testing, NV rate, retry. Source: Part 2, table 17.
const ASK_AGAIN: [u32; 4] = [0x908, 0x90A, 0x920, 0x922];

/// How often a busy TPM is asked again; pauses double from 5 ms to 640 ms, 1.3 s in all.
const ASK_AGAIN_TIMES: u32 = 8;

/// A command: its code and what goes with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    /// `TPM_CC`. Source: Part 2, table 12.
    pub(crate) code: u32,
    /// Its name in the specification.
    pub(crate) name: &'static str,
    /// Whether its response begins with a handle.
    pub(crate) returns: Returns,
}

/// Whether a response begins with a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returns {
    Handle,
    NoHandle,
}

impl Command {
    pub(crate) const fn plain(code: u32, name: &'static str) -> Self {
        Self {
            code,
            name,
            returns: Returns::NoHandle,
        }
    }

    pub(crate) const fn making(code: u32, name: &'static str) -> Self {
        Self {
            code,
            name,
            returns: Returns::Handle,
        }
    }

    fn malformed(self, wrong: WireError) -> TpmError {
        TpmError::Malformed {
            command: self.name,
            wrong,
        }
    }
}

/// A handle and the name under which session codes cover it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) handle: u32,
    pub(crate) name: &'a [u8],
}

/// How a handle is authorized.
pub(crate) enum Authorization<'a> {
    /// By the empty password.
    EmptyPassword,
    /// By a session; also carries parameter encryption.
    Session(&'a mut Session, Protect),
}

/// A command with everything it needs.
pub(crate) struct Request<'a> {
    pub(crate) command: Command,
    pub(crate) handles: &'a [Named<'a>],
    pub(crate) authorizations: &'a mut [Authorization<'a>],
    pub(crate) parameters: Writer,
}

/// A verified answer.
pub(crate) struct Reply {
    command: Command,
    handle: Option<u32>,
    parameters: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// The handle that the command made.
    pub(crate) fn handle(&self) -> Result<u32, TpmError> {
        self.handle.ok_or_else(|| {
            self.command
                .malformed(WireError::Short { wanted: 4, left: 0 })
        })
    }

    /// Reads the parameters, all of them.
    pub(crate) fn read<'s, T>(
        &'s self,
        read: impl FnOnce(&mut Reader<'s>) -> Result<T, WireError>,
    ) -> Result<T, TpmError> {
        let mut reader = Reader::new(&self.parameters);
        let value = read(&mut reader).map_err(|wrong| self.command.malformed(wrong))?;
        reader
            .end()
            .map_err(|wrong| self.command.malformed(wrong))?;
        Ok(value)
    }
}

/// A pipe to a TPM.
pub(crate) struct Connection {
    channel: Channel,
}

impl Connection {
    /// Opens an address.
    pub(crate) fn open(address: &TpmAddress) -> Result<Self, TpmError> {
        Self::over(Channel::open(address), address)
    }

    /// Opens an address; a software TPM may take so long for one command.
    pub(crate) fn open_for(address: &TpmAddress, patience: Duration) -> Result<Self, TpmError> {
        Self::over(Channel::open_for(address, patience), address)
    }

    fn over(channel: io::Result<Channel>, address: &TpmAddress) -> Result<Self, TpmError> {
        channel
            .map(|channel| Self { channel })
            .map_err(|error| TpmError::Unreachable {
                address: address.to_string(),
                cause: error.kind(),
            })
    }

    /// A command without authorization.
    pub(crate) fn ask(
        &mut self,
        command: Command,
        handles: &[u32],
        parameters: Writer,
    ) -> Result<Reply, TpmError> {
        let named: Vec<Named<'_>> = handles
            .iter()
            .map(|handle| Named {
                handle: *handle,
                name: &[],
            })
            .collect();
        self.run(Request {
            command,
            handles: &named,
            authorizations: &mut [],
            parameters,
        })
    }

    /// A command whose first handle is authorized by the empty password.
    pub(crate) fn ask_with_password(
        &mut self,
        command: Command,
        handles: &[u32],
        parameters: Writer,
    ) -> Result<Reply, TpmError> {
        let named: Vec<Named<'_>> = handles
            .iter()
            .map(|handle| Named {
                handle: *handle,
                name: &[],
            })
            .collect();
        let authorizations = &mut [Authorization::EmptyPassword];
        self.run(Request {
            command,
            handles: &named,
            authorizations,
            parameters,
        })
    }

    /// Starts a salted session. Whoever calls this flushes it.
    pub(crate) fn start_session(
        &mut self,
        kind: SessionKind,
        salt_key: (&SaltKey, u32),
    ) -> Result<Session, TpmError> {
        const START: Command = Command::making(0x176, "TPM2_StartAuthSession");
        let (key, key_handle) = salt_key;
        let opening = Opening::new(key)?;
        let parameters = start_parameters(kind, &opening);
        let reply = self.ask(START, &[key_handle, RH_NULL], parameters)?;
        let nonce = reply.read(|r| r.sized().map(<[u8]>::to_vec))?;
        Ok(opening.established(reply.handle()?, nonce))
    }

    /// Forgets a session or a transient object.
    pub(crate) fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        const FLUSH: Command = Command::plain(0x165, "TPM2_FlushContext");
        self.ask(FLUSH, &[], Writer::new().u32(handle))?
            .read(|_| Ok(()))
    }

    /// Carries out a command.
    pub(crate) fn run(&mut self, request: Request<'_>) -> Result<Reply, TpmError> {
        let Request {
            command,
            handles,
            authorizations,
            parameters,
        } = request;
        let malformed = |wrong| command.malformed(wrong);
        let mut parameters = parameters.finish().map_err(malformed)?;
        for authorization in authorizations.iter_mut() {
            if let Authorization::Session(session, protect) = authorization {
                session.begin(*protect)?;
                // The first parameter of every command we protect is a TPM2B; its length stays in clear.
                if let Some((length, rest)) = parameters.split_first_chunk_mut::<2>() {
                    let first = rest.get_mut(..usize::from(u16::from_be_bytes(*length)));
                    session.encrypt(first.unwrap_or_default());
                }
            }
        }
        let bytes = assemble(command, handles, authorizations, &parameters).map_err(malformed)?;
        let response = self.transact(command, &bytes)?;
        parse(command, &response, authorizations)
    }

    /// Sends bytes until the TPM is not busy. A refused or postponed command leaves nonces as they
    /// were, so the same bytes are sent again.
    fn transact(&mut self, command: Command, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let mut pause = Duration::from_millis(5);
        for _ in 0..ASK_AGAIN_TIMES {
            let response = self.transact_once(command, bytes)?;
            if !ASK_AGAIN.contains(&base(response_code(command, &response)?)) {
                return Ok(response);
            }
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2);
        }
        self.transact_once(command, bytes)
    }

    fn transact_once(
        &mut self,
        command: Command,
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.channel
            .transact(bytes)
            .map_err(|error| TpmError::Transport {
                command: command.name,
                cause: error.kind(),
            })
    }
}

/// The code in a response's header.
fn response_code(command: Command, response: &[u8]) -> Result<u32, TpmError> {
    let mut header = Reader::new(response);
    let read = header.take(6).and_then(|_| header.u32());
    read.map_err(|wrong| command.malformed(wrong))
}

/// Lays out a command.
fn assemble(
    command: Command,
    handles: &[Named<'_>],
    authorizations: &[Authorization<'_>],
    parameters: &[u8],
) -> Result<Zeroizing<Vec<u8>>, WireError> {
    let mut hash = Sha256::new().chain_update(command.code.to_be_bytes());
    handles.iter().for_each(|handle| hash.update(handle.name));
    let hash: [u8; 32] = hash.chain_update(parameters).finalize().into();
    let mut area = Writer::new();
    for authorization in authorizations {
        area = match authorization {
            // TPM_RS_PW, no nonce, no attributes, empty password
            Authorization::EmptyPassword => area.u32(0x4000_0009).sized(&[]).u8(0).sized(&[]),
            Authorization::Session(session, _) => area.raw(&session.authorize(&hash).finish()?),
        };
    }
    let area = area.finish()?;
    let mut body = handles
        .iter()
        .fold(Writer::new(), |body, handle| body.u32(handle.handle));
    if !authorizations.is_empty() {
        body = body
            .u32(u32::try_from(area.len()).map_err(|_| WireError::TooLong)?)
            .raw(&area);
    }
    let body = body.raw(parameters).finish()?;
    let size = body
        .len()
        .checked_add(HEADER_BYTES)
        .and_then(|size| u32::try_from(size).ok());
    let tag = if authorizations.is_empty() {
        ST_NO_SESSIONS
    } else {
        ST_SESSIONS
    };
    Writer::new()
        .u16(tag)
        .u32(size.ok_or(WireError::TooLong)?)
        .u32(command.code)
        .raw(&body)
        .finish()
}

/// Reads a response, verifies its sessions and decrypts its first parameter.
fn parse(
    command: Command,
    response: &[u8],
    authorizations: &mut [Authorization<'_>],
) -> Result<Reply, TpmError> {
    let malformed = |wrong| command.malformed(wrong);
    let mut reader = Reader::new(response);
    let tag = reader.u16().map_err(malformed)?;
    let size = reader.u32().map_err(malformed)?;
    let code = reader.u32().map_err(malformed)?;
    if u32::try_from(response.len()) != Ok(size) {
        let found = u64::try_from(response.len()).unwrap_or(u64::MAX);
        return Err(malformed(WireError::Field {
            field: "responseSize",
            expected: u64::from(size),
            found,
        }));
    }
    if code != 0 {
        return Err(TpmError::Refused {
            command: command.name,
            code,
        });
    }
    let expected = if authorizations.is_empty() {
        ST_NO_SESSIONS
    } else {
        ST_SESSIONS
    };
    if tag != expected {
        let (expected, found) = (u64::from(expected), u64::from(tag));
        return Err(malformed(WireError::Field {
            field: "tag",
            expected,
            found,
        }));
    }
    let handle = match command.returns {
        Returns::Handle => Some(reader.u32().map_err(malformed)?),
        Returns::NoHandle => None,
    };
    if authorizations.is_empty() {
        return Ok(Reply {
            command,
            handle,
            parameters: Zeroizing::new(reader.rest().to_vec()),
        });
    }
    let length = reader.u32().map_err(malformed)?;
    let length = usize::try_from(length).map_err(|_| malformed(WireError::TooLong))?;
    let mut parameters = Zeroizing::new(reader.take(length).map_err(malformed)?.to_vec());
    // rpHash covers the response code (zero here), the command code and the parameters as received.
    let hash: [u8; 32] = Sha256::new()
        .chain_update([0; 4])
        .chain_update(command.code.to_be_bytes())
        .chain_update(&*parameters)
        .finalize()
        .into();
    for authorization in authorizations.iter_mut() {
        let nonce_tpm = reader.sized().map_err(malformed)?;
        let attributes = reader.u8().map_err(malformed)?;
        let mac = reader.sized().map_err(malformed)?;
        if let Authorization::Session(session, _) = authorization {
            let response = SessionResponse {
                hash,
                nonce_tpm,
                attributes,
                mac,
            };
            session
                .verify_response(&response)
                .map_err(|_| TpmError::Forged {
                    command: command.name,
                })?;
            if let Some((length, rest)) = parameters.split_first_chunk_mut::<2>() {
                let first = rest.get_mut(..usize::from(u16::from_be_bytes(*length)));
                session.decrypt(first.unwrap_or_default());
            }
        }
    }
    reader.end().map_err(malformed)?;
    Ok(Reply {
        command,
        handle,
        parameters,
    })
}

impl<'a> From<&'a (u32, NvName)> for Named<'a> {
    fn from((handle, name): &'a (u32, NvName)) -> Self {
        Self {
            handle: *handle,
            name: &name.0,
        }
    }
}
