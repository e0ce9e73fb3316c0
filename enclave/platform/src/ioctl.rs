//! The calls of `/dev/sev-guest`, and nothing else: requests with addresses of our own buffers, which the kernel fills.
//!
//! In: the open device, 64 bytes, a privilege level. Out: what the firmware answered, and the host's table, both in
//! buffers of fixed size. Addresses do not leave this module.
//!
//! Source: Linux, `include/uapi/linux/sev-guest.h`.

use crate::processor::sev_guest::{RESPONSE_BYTES, TABLE_BYTES};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, opcode};
use std::fs::File;
use std::ptr;

/// `struct snp_guest_request_ioctl`.
#[repr(C)]
struct Request {
    version: u8,
    request: u64,
    response: u64,
    /// Firmware's error in the lower half, the host's in the upper.
    error: u64,
}

/// `struct snp_report_req`.
#[repr(C)]
struct ReportRequest {
    data: [u8; 64],
    level: u32,
    reserved: [u8; 28],
}

/// `struct snp_ext_report_req`.
#[repr(C)]
struct ExtendedRequest {
    report: ReportRequest,
    table: u64,
    table_bytes: u32,
}

/// `SNP_GET_REPORT`.
const GET_REPORT: Opcode = opcode::read_write::<Request>(b'S', 0);

/// `SNP_GET_EXT_REPORT`.
const GET_EXTENDED_REPORT: Opcode = opcode::read_write::<Request>(b'S', 2);

/// The device did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What the kernel says.
    pub(crate) errno: Errno,
    /// What the host says; 0 for nothing.
    pub(crate) host: u32,
    /// What the firmware says; 0 for nothing.
    pub(crate) firmware: u32,
}

fn report_request(data: &[u8; 64], level: u32) -> ReportRequest {
    ReportRequest {
        data: *data,
        level,
        reserved: [0; 28],
    }
}

/// The number of an address, for the kernel alone.
fn number<T: ?Sized>(of: *mut T) -> Result<u64, Refusal> {
    u64::try_from(of.cast::<u8>().expose_provenance()).map_err(|_| Refusal {
        errno: Errno::FAULT,
        host: 0,
        firmware: 0,
    })
}

fn refusal(errno: Errno, error: u64) -> Refusal {
    let [a, b, c, d, e, f, g, h] = error.to_le_bytes();
    Refusal {
        errno,
        firmware: u32::from_le_bytes([a, b, c, d]),
        host: u32::from_le_bytes([e, f, g, h]),
    }
}

/// A report at a level.
pub(crate) fn snp_report(device: &File, data: &[u8; 64], level: u32) -> Result<Vec<u8>, Refusal> {
    let mut asked = report_request(data, level);
    let mut response = vec![0_u8; RESPONSE_BYTES];
    let mut request = Request {
        version: 1,
        request: number(ptr::from_mut(&mut asked))?,
        response: number(response.as_mut_ptr())?,
        error: 0,
    };
    // SAFETY: the opcode is that of `SNP_GET_REPORT`, for which the kernel takes a `snp_guest_request_ioctl`.
    let call = unsafe { Updater::<GET_REPORT, Request>::new(&mut request) };
    // SAFETY: `request.request` is the address of a `snp_report_req`, which the kernel reads; `request.response` is that
    // of 4000 bytes, the size of `snp_report_resp`, which it writes. Both live until after the call, and nothing else
    // refers to them meanwhile. On another device than the one meant the kernel does not know the opcode.
    let called = unsafe { rustix::ioctl::ioctl(device, call) };
    called.map_err(|errno| refusal(errno, request.error))?;
    Ok(response)
}

/// A report at a level, and the host's table.
pub(crate) fn snp_extended_report(
    device: &File,
    data: &[u8; 64],
    level: u32,
) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
    let mut table = vec![0_u8; TABLE_BYTES];
    let mut asked = ExtendedRequest {
        report: report_request(data, level),
        table: number(table.as_mut_ptr())?,
        table_bytes: TABLE_BYTES_ASKED,
    };
    let mut response = vec![0_u8; RESPONSE_BYTES];
    let mut request = Request {
        version: 1,
        request: number(ptr::from_mut(&mut asked))?,
        response: number(response.as_mut_ptr())?,
        error: 0,
    };
    // SAFETY: the opcode is that of `SNP_GET_EXT_REPORT`, for which the kernel takes a `snp_guest_request_ioctl`.
    let call = unsafe { Updater::<GET_EXTENDED_REPORT, Request>::new(&mut request) };
    // SAFETY: as in `snp_report`, with a `snp_ext_report_req`, which the kernel reads and writes; `asked.table` is the
    // address of `asked.table_bytes` bytes, which it may write, and no more than so many.
    let called = unsafe { rustix::ioctl::ioctl(device, call) };
    called.map_err(|errno| refusal(errno, request.error))?;
    Ok((response, table))
}

/// [`TABLE_BYTES`] as the kernel takes it.
const TABLE_BYTES_ASKED: u32 = 0x4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_layout_of_the_kernels_header() {
        assert_eq!(size_of::<Request>(), 32);
        assert_eq!(std::mem::offset_of!(Request, request), 8);
        assert_eq!(std::mem::offset_of!(Request, error), 24);
        assert_eq!(size_of::<ReportRequest>(), 96);
        assert_eq!(std::mem::offset_of!(ReportRequest, level), 64);
        assert_eq!(size_of::<ExtendedRequest>(), 112);
        assert_eq!(std::mem::offset_of!(ExtendedRequest, table), 96);
        assert_eq!(std::mem::offset_of!(ExtendedRequest, table_bytes), 104);
        assert_eq!(usize::try_from(TABLE_BYTES_ASKED), Ok(TABLE_BYTES));
        // `_IOWR('S', 0, 32 bytes)` and `_IOWR('S', 2, 32 bytes)`.
        assert_eq!(
            (GET_REPORT, GET_EXTENDED_REPORT),
            (0xC020_5300, 0xC020_5302)
        );
    }

    #[test]
    fn errors_of_host_and_firmware_are_told_apart() {
        let told = refusal(Errno::IO, 0x0000_0002_0000_0016);
        assert_eq!((told.host, told.firmware), (2, 0x16));
    }
}
