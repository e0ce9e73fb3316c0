//! A root that a caller pins: whose word about time counts.

use crate::error::TimestampError;
use crate::purpose::may_issue;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_certificates::Certificate;
use thiserror::Error;

/// A pinned root certificate. Only [`Authority::parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    der: Vec<u8>,
}

/// Why a text names no root.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RootError {
    /// Neither PEM nor hexadecimal digits.
    #[error("not one certificate in pem, and not the hexadecimal digits of its der")]
    Text,
    /// The certificate can be no root.
    #[error("{0}")]
    Certificate(#[from] TimestampError),
}

impl Authority {
    /// Reads a root certificate in DER. That it may issue others, and has a key that is accepted, is
    /// said here already; its own signature is nobody's word and is not looked at.
    ///
    /// # Errors
    /// Why it can be no root.
    pub fn parse(der: &[u8]) -> Result<Self, TimestampError> {
        let certificate = Certificate::parse(der)?;
        may_issue(&certificate)?;
        certificate.key("an issuer")?;
        Ok(Self { der: der.to_vec() })
    }

    /// Reads a root certificate as people write it: one in PEM (RFC 7468) and nothing beside it, or the
    /// hexadecimal digits of its DER.
    ///
    /// # Errors
    /// Why it can be no root.
    pub fn from_text(text: &str) -> Result<Self, RootError> {
        let der = der(text.trim()).ok_or(RootError::Text)?;
        Ok(Self::parse(&der)?)
    }

    pub(crate) fn certificate(&self) -> Result<Certificate<'_>, TimestampError> {
        Ok(Certificate::parse(&self.der)?)
    }
}

fn der(text: &str) -> Option<Vec<u8>> {
    let Some(rest) = text.strip_prefix("-----BEGIN CERTIFICATE-----") else {
        return hex::decode(text).ok();
    };
    let body = rest.strip_suffix("-----END CERTIFICATE-----")?;
    let digits: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(digits).ok()
}
