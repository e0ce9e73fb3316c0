//! What a certificate has to be for, where time is at stake.
//!
//! In: a certificate. Out: whether it may stamp, or may issue one that does.
//!
//! Spec: RFC 3161 2.3; RFC 5280 4.2.1.12.

use crate::error::TimestampError;
use countersign_certificates::{Certificate, CertificateError, Extensions, usage};

/// 2.5.29.37.0
const ANY_PURPOSE: &[u8] = b"\x55\x1d\x25\x00";
/// 1.3.6.1.5.5.7.3.8, id-kp-timeStamping
const TIME_STAMPING: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x08";

/// Whether this is a certificate for timestamps and nothing else, valid at that time.
pub(crate) fn may_stamp(certificate: &Certificate<'_>, at: u64) -> Result<(), TimestampError> {
    let whose = "the signer's certificate";
    certificate.valid(at, whose)?;
    let Extensions {
        usage: use_of_key,
        constraints,
        purposes,
        unknown_critical,
        ..
    } = certificate.extensions();
    if *unknown_critical {
        return Err(CertificateError::CriticalExtension(whose).into());
    }
    // SPEC: RFC 3161 2.3: exactly one purpose, critical.
    let why = match purposes {
        None => Some("it names no purpose"),
        Some(p) if !p.critical => Some("its purpose is not critical"),
        Some(p) if p.list != [TIME_STAMPING] => Some("it has another purpose, or more than one"),
        Some(_) => None,
    };
    let why = why.or_else(|| {
        use_of_key
            .is_some_and(|u| u & (usage::DIGITAL_SIGNATURE | usage::NON_REPUDIATION) == 0)
            .then_some("its key is not for signatures")
    });
    let why = why.or_else(|| {
        constraints
            .as_ref()
            .is_some_and(|c| c.issuer)
            .then_some("it may issue certificates")
    });
    why.map_or(Ok(()), |why| Err(TimestampError::Purpose(why)))
}

/// Whether this is a certificate that may issue such ones.
pub(crate) fn may_issue(certificate: &Certificate<'_>) -> Result<(), TimestampError> {
    certificate.is_issuer()?;
    let purposes = certificate.extensions().purposes.as_ref();
    if purposes.is_some_and(|p| !p.list.contains(&TIME_STAMPING) && !p.list.contains(&ANY_PURPOSE))
    {
        return Err(CertificateError::Issuer("its purposes leave out timestamps").into());
    }
    Ok(())
}
