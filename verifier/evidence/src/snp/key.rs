//! Certificates of signing keys: what AMD says of a VCEK or VLEK in extensions of its own.
//!
//! Source: AMD 57230, "VCEK certificate format", and 58369. The identifiers are 1.3.6.1.4.1.3704.1.*.

use countersign_certificates::algorithm::Key;
use countersign_certificates::der::Reader;
use countersign_certificates::{Certificate, CertificateError, DerError};
use thiserror::Error;

use super::product::{Product, RawTcb};
use super::report::SigningKey;
use crate::party::{PartyError, PartyName};

/// What the certificate of a signing key says. That AMD issued it is not said here.
#[derive(Debug)]
pub(crate) struct EndorsementKey<'a> {
    pub(crate) kind: SigningKey,
    pub(crate) product: Product,
    /// The TCB that the key was derived from, laid out as the product's reports have it.
    pub(crate) tcb: RawTcb,
    /// Of a VCEK: the chip's identity, 64 bytes, of Turin 8.
    pub(crate) chip: Option<&'a [u8]>,
    /// Of a VLEK: who holds it.
    pub(crate) provider: Option<PartyName>,
    pub(crate) key: p384::ecdsa::VerifyingKey,
    /// `SubjectPublicKeyInfo`, as it arrived.
    pub(crate) spki: &'a [u8],
}

/// Why a certificate is not that of a signing key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum KeyError {
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("common name is {0:?}, expected SEV-VCEK or SEV-VLEK")]
    CommonName(String),
    #[error("it has a critical extension that is not known")]
    Critical,
    #[error("it may issue certificates")]
    Issues,
    #[error("its key is not of p-384")]
    NotP384,
    #[error("extension {0} is missing")]
    Missing(&'static str),
    #[error("extension {0} stands there and must not")]
    Unexpected(&'static str),
    #[error("extension {name}: {error}")]
    Form { name: &'static str, error: DerError },
    #[error("extension {name} is {found}, expected at most 255")]
    TooLarge { name: &'static str, found: u64 },
    #[error("extension {name} is {found}, expected 0, as it is reserved")]
    Reserved { name: &'static str, found: u8 },
    #[error("extension productName is {0:?}, expected Milan, Genoa or Turin")]
    Product(String),
    #[error("extension hwID is {found} bytes, expected {expected}")]
    ChipLength { found: usize, expected: usize },
    #[error("extension cspID: {0}")]
    Provider(#[from] PartyError),
}

impl<'a> EndorsementKey<'a> {
    pub(crate) fn of(certificate: &Certificate<'a>) -> Result<Self, KeyError> {
        let kind = match certificate.named(COMMON_NAME) {
            Some(b"SEV-VCEK") => SigningKey::Vcek,
            Some(b"SEV-VLEK") => SigningKey::Vlek,
            found => return Err(KeyError::CommonName(text(found.unwrap_or_default()))),
        };
        let known = certificate.extensions();
        if known.unknown_critical {
            return Err(KeyError::Critical);
        }
        if known.constraints.as_ref().is_some_and(|c| c.issuer) {
            return Err(KeyError::Issues);
        }
        let Key::P384(key) = certificate.key("the signing key")? else {
            return Err(KeyError::NotP384);
        };
        let extensions = Extensions(certificate);
        let product = extensions.product()?;
        let chip = extensions.chip(product)?;
        let provider = extensions.provider()?;
        match kind {
            SigningKey::Vcek if chip.is_none() => return Err(KeyError::Missing("hwID")),
            SigningKey::Vcek if provider.is_some() => return Err(KeyError::Unexpected("cspID")),
            SigningKey::Vlek if provider.is_none() => return Err(KeyError::Missing("cspID")),
            SigningKey::Vlek if chip.is_some() => return Err(KeyError::Unexpected("hwID")),
            SigningKey::Vcek | SigningKey::Vlek => {}
        }
        Ok(Self {
            kind,
            product,
            tcb: extensions.tcb(product)?,
            chip,
            provider,
            key,
            spki: certificate.spki(),
        })
    }
}

/// AMD's extensions of a certificate.
struct Extensions<'c, 'a>(&'c Certificate<'a>);

impl<'a> Extensions<'_, 'a> {
    fn value(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.0.extension(oid).map(|extension| extension.value)
    }

    fn product(&self) -> Result<Product, KeyError> {
        let name = "productName";
        let value = self.value(PRODUCT_NAME).ok_or(KeyError::Missing(name))?;
        let found = ia5(value, name)?;
        Product::of_name(found).ok_or_else(|| KeyError::Product(text(found)))
    }

    /// A security version, if it stands there.
    fn version(&self, last: u8, name: &'static str) -> Result<Option<u8>, KeyError> {
        let oid = [SECURITY_VERSION, &[last]].concat();
        let Some(value) = self.value(&oid) else {
            return Ok(None);
        };
        let form = |error| KeyError::Form { name, error };
        let mut r = Reader::new(value);
        let found = r.number(name).map_err(form)?;
        r.end(name).map_err(form)?;
        u8::try_from(found)
            .map(Some)
            .map_err(|_| KeyError::TooLarge { name, found })
    }

    fn needed(&self, last: u8, name: &'static str) -> Result<u8, KeyError> {
        self.version(last, name)?.ok_or(KeyError::Missing(name))
    }

    fn tcb(&self, product: Product) -> Result<RawTcb, KeyError> {
        for (last, name) in [(4, "spl4"), (5, "spl5"), (6, "spl6"), (7, "spl7")] {
            match self.version(last, name)? {
                None | Some(0) => {}
                Some(found) => return Err(KeyError::Reserved { name, found }),
            }
        }
        let bootloader = self.needed(1, "blSPL")?;
        let tee = self.needed(2, "teeSPL")?;
        let snp = self.needed(3, "snpSPL")?;
        let microcode = self.needed(8, "ucodeSPL")?;
        let name = "fmcSPL";
        let fmc = self.version(9, name)?;
        match (product, fmc) {
            (Product::Milan | Product::Genoa, None) => {
                Ok(RawTcb([bootloader, tee, 0, 0, 0, 0, snp, microcode]))
            }
            (Product::Turin, Some(fmc)) => {
                Ok(RawTcb([fmc, bootloader, tee, snp, 0, 0, 0, microcode]))
            }
            (Product::Milan | Product::Genoa, Some(_)) => Err(KeyError::Unexpected(name)),
            (Product::Turin, None) => Err(KeyError::Missing(name)),
        }
    }

    /// The bytes of the chip's identity stand in the extension as they are, or as an OCTET STRING.
    fn chip(&self, product: Product) -> Result<Option<&'a [u8]>, KeyError> {
        let Some(value) = self.value(CHIP) else {
            return Ok(None);
        };
        let expected = match product {
            Product::Milan | Product::Genoa => 64,
            Product::Turin => 8,
        };
        let inside = match Reader::new(value).octets("hwID") {
            // Only where it fills the extension: else its first bytes just look like that.
            Ok(inside) if value.len() == inside.len().saturating_add(2) => inside,
            Ok(_) | Err(_) => value,
        };
        let found = [value, inside].into_iter().find(|v| v.len() == expected);
        found.map(Some).ok_or(KeyError::ChipLength {
            found: value.len(),
            expected,
        })
    }

    fn provider(&self) -> Result<Option<PartyName>, KeyError> {
        let Some(value) = self.value(PROVIDER) else {
            return Ok(None);
        };
        Ok(Some(PartyName::parse(&text(ia5(value, "cspID")?))?))
    }
}

/// The content of an IA5String and nothing after it.
fn ia5<'a>(value: &'a [u8], name: &'static str) -> Result<&'a [u8], KeyError> {
    let form = |error| KeyError::Form { name, error };
    let mut r = Reader::new(value);
    let found = r.expect(IA5_STRING, name).map_err(form)?.content;
    r.end(name).map_err(form)?;
    Ok(found)
}

/// At most 64 characters, for a reason.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(64).collect()
}

const IA5_STRING: u8 = 0x16;

/// 2.5.4.3
pub(crate) const COMMON_NAME: &[u8] = b"\x55\x04\x03";
/// 1.3.6.1.4.1.3704.1.2
const PRODUCT_NAME: &[u8] = b"\x2b\x06\x01\x04\x01\x9c\x78\x01\x02";
/// 1.3.6.1.4.1.3704.1.3, of which each version is a child.
const SECURITY_VERSION: &[u8] = b"\x2b\x06\x01\x04\x01\x9c\x78\x01\x03";
/// 1.3.6.1.4.1.3704.1.4
const CHIP: &[u8] = b"\x2b\x06\x01\x04\x01\x9c\x78\x01\x04";
/// 1.3.6.1.4.1.3704.1.5
const PROVIDER: &[u8] = b"\x2b\x06\x01\x04\x01\x9c\x78\x01\x05";
