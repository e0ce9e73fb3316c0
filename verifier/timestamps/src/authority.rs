//! A root that a caller pins: whose word about time counts.

use crate::certificate::Certificate;
use crate::error::TimestampError;

/// A pinned root certificate. Only [`Authority::parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    der: Vec<u8>,
}

impl Authority {
    /// Reads a root certificate in DER. That it may issue others, and has a key that is accepted, is
    /// said here already; its own signature is nobody's word and is not looked at.
    ///
    /// # Errors
    /// Why it can be no root.
    pub fn parse(der: &[u8]) -> Result<Self, TimestampError> {
        let certificate = Certificate::parse(der)?;
        certificate.is_issuer()?;
        certificate.key("an issuer")?;
        Ok(Self { der: der.to_vec() })
    }

    pub(crate) fn certificate(&self) -> Result<Certificate<'_>, TimestampError> {
        Certificate::parse(&self.der)
    }
}
