//! Where a TPM is, and a pipe to it: whole commands in, whole responses out.
//!
//! In: an address. Out: responses of at most 4096 bytes. Relies on the kernel's resource
//! manager (`/dev/tpmrm0`) for a device; a TCP address has none and is used by us alone.

use crate::wire::{HEADER_BYTES, MAX_MESSAGE_BYTES};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a software TPM may take for one command before the connection counts as broken.
///
/// Its slowest command here takes milliseconds; a stopped process must not hold us for ever.
/// Devices have the kernel's own time limits.
const TCP_PATIENCE: Duration = Duration::from_secs(30);

/// Where a TPM is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TpmAddress {
    /// A device of the kernel's resource manager.
    Device(PathBuf),
    /// A software TPM's command port. It is never taken for hardware, whatever it says of itself.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port of the command channel.
        port: u16,
    },
}

impl Default for TpmAddress {
    /// `/dev/tpmrm0`.
    fn default() -> Self {
        Self::Device(PathBuf::from("/dev/tpmrm0"))
    }
}

impl fmt::Display for TpmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(f, "device {}", path.display()),
            Self::Tcp { host, port } => write!(f, "swtpm {host}:{port}"),
        }
    }
}

impl TpmAddress {
    /// Where the kernel shows the measured-boot event log of this device, if it is a device.
    pub(crate) fn event_log_path(&self) -> Option<PathBuf> {
        match self {
            Self::Device(path) => {
                let name = path.file_name()?.to_str()?;
                let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
                Some(PathBuf::from(format!(
                    "/sys/kernel/security/tpm{number}/binary_bios_measurements"
                )))
            }
            Self::Tcp { .. } => None,
        }
    }
}

/// An open pipe to a TPM.
pub(crate) enum Channel {
    /// One write is one command, one read is one response.
    Device(File),
    /// A byte stream; responses are framed by their header.
    Tcp(TcpStream),
}

impl Channel {
    /// Opens an address.
    pub(crate) fn open(address: &TpmAddress) -> io::Result<Self> {
        Self::open_for(address, TCP_PATIENCE)
    }

    /// Opens an address; a software TPM may take so long for one command.
    pub(crate) fn open_for(address: &TpmAddress, patience: Duration) -> io::Result<Self> {
        match address {
            TpmAddress::Device(path) => OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .map(Self::Device),
            TpmAddress::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// Sends one command and waits for its response.
    pub(crate) fn transact(&mut self, command: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut response = Zeroizing::new(vec![0u8; MAX_MESSAGE_BYTES]);
        let length = match self {
            Self::Device(file) => {
                file.write_all(command)?;
                file.read(&mut response)?
            }
            Self::Tcp(stream) => {
                stream.write_all(command)?;
                read_framed(stream, &mut response)?
            }
        };
        response.truncate(length);
        Ok(response)
    }
}

/// Reads one response: ten bytes of header, then as many as it announces.
pub(crate) fn read_framed(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let (header, body) = buffer
        .split_at_mut_checked(HEADER_BYTES)
        .ok_or_else(invalid)?;
    stream.read_exact(header)?;
    let size: [u8; 4] = header
        .get(2..6)
        .and_then(|b| b.try_into().ok())
        .ok_or_else(invalid)?;
    let size = usize::try_from(u32::from_be_bytes(size)).map_err(|_| invalid())?;
    let rest = size
        .checked_sub(HEADER_BYTES)
        .and_then(|rest| body.get_mut(..rest))
        .ok_or_else(invalid)?;
    stream.read_exact(rest)?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_log_belongs_to_the_same_device() {
        let path = TpmAddress::Device("/dev/tpmrm1".into()).event_log_path();
        assert_eq!(
            path,
            Some("/sys/kernel/security/tpm1/binary_bios_measurements".into())
        );
    }

    #[test]
    fn a_software_tpm_has_no_event_log() {
        assert_eq!(
            TpmAddress::Tcp {
                host: "127.0.0.1".into(),
                port: 1
            }
            .event_log_path(),
            None
        );
    }
}
