//! Keys of nobody, by kind, and how they sign.

use p256::ecdsa::signature::hazmat::PrehashSigner as _;

use crate::der;
use crate::rsa::{Hash, RsaPrivate};

/// A private key of nobody.
#[derive(Debug, Clone)]
pub enum Key {
    /// RSA.
    Rsa(Box<RsaPrivate>),
    /// ECDSA on P-256.
    P256(p256::ecdsa::SigningKey),
    /// ECDSA on P-384.
    P384(p384::ecdsa::SigningKey),
}

/// The RSA keys in `keys/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rsa {
    /// 4096 bits; in the place of an AMD root key.
    Ark,
    /// 4096 bits; in the place of AMD's key for VCEKs.
    Ask,
    /// 4096 bits; in the place of AMD's key for VLEKs.
    Asvk,
    /// 4096 bits; of somebody else.
    Other,
    /// 2048 bits; in the place of a TPM's attestation key.
    Tpm,
    /// 2048 bits; in the place of a TPM's endorsement key, or of whoever certifies one.
    Endorsement,
}

/// How a signature is made and named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1(Hash),
    /// RSASSA-PSS, MGF1 of the same hash, a salt of so many bytes.
    Pss(Hash, u8),
    /// ECDSA.
    Ecdsa(Hash),
}

impl Scheme {
    /// What AMD uses.
    pub const PSS_SHA384: Self = Self::Pss(Hash::Sha384, 48);

    /// Its `AlgorithmIdentifier`.
    #[must_use]
    pub fn identifier(self) -> Vec<u8> {
        match self {
            Self::Pkcs1(hash) => {
                let last = match hash {
                    Hash::Sha256 => 11,
                    Hash::Sha384 => 12,
                    Hash::Sha512 => 13,
                };
                let oid = der::oid(&format!("1.2.840.113549.1.1.{last}"));
                der::sequence(&[&oid, &der::null()])
            }
            Self::Pss(hash, salt) => {
                let digest = der::sequence(&[&der::oid(hash.oid()), &der::null()]);
                let mgf1 = der::sequence(&[&der::oid("1.2.840.113549.1.1.8"), &digest]);
                let parameters = der::sequence(&[
                    &der::explicit(0, &digest),
                    &der::explicit(1, &mgf1),
                    &der::explicit(2, &der::number(salt.into())),
                ]);
                der::sequence(&[&der::oid("1.2.840.113549.1.1.10"), &parameters])
            }
            Self::Ecdsa(hash) => {
                let last = match hash {
                    Hash::Sha256 => 2,
                    Hash::Sha384 => 3,
                    Hash::Sha512 => 4,
                };
                der::sequence(&[&der::oid(&format!("1.2.840.10045.4.3.{last}"))])
            }
        }
    }
}

impl Key {
    /// A key of `keys/`.
    #[must_use]
    pub fn rsa(which: Rsa) -> Self {
        let text = match which {
            Rsa::Ark => include_str!("../keys/ark.txt"),
            Rsa::Ask => include_str!("../keys/ask.txt"),
            Rsa::Asvk => include_str!("../keys/asvk.txt"),
            Rsa::Other => include_str!("../keys/other.txt"),
            Rsa::Tpm => include_str!("../keys/tpm.txt"),
            Rsa::Endorsement => include_str!("../keys/endorsement.txt"),
        };
        Self::Rsa(Box::new(RsaPrivate::parse(text)))
    }

    /// The key of P-256 whose every byte is `seed`, from 1 to 254.
    ///
    /// # Panics
    /// With 0 or 255.
    #[must_use]
    pub fn p256(seed: u8) -> Self {
        Self::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    /// The key of P-384 whose every byte is `seed`, from 1 to 254.
    ///
    /// # Panics
    /// With 0 or 255.
    #[must_use]
    pub fn p384(seed: u8) -> Self {
        Self::P384(p384::ecdsa::SigningKey::from_slice(&[seed; 48]).unwrap())
    }

    /// Its `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        let curve = |oid: &str| der::sequence(&[&der::oid("1.2.840.10045.2.1"), &der::oid(oid)]);
        let (algorithm, bits) = match self {
            Self::Rsa(key) => (
                der::sequence(&[&der::oid("1.2.840.113549.1.1.1"), &der::null()]),
                der::sequence(&[&der::unsigned(&key.modulus()), &der::number(65537)]),
            ),
            Self::P256(_) => (curve("1.2.840.10045.3.1.7"), self.point()),
            Self::P384(_) => (curve("1.3.132.0.34"), self.point()),
        };
        der::sequence(&[&algorithm, &der::bits(&bits)])
    }

    /// Its uncompressed point, 04 in front.
    ///
    /// # Panics
    /// For an RSA key.
    #[must_use]
    pub fn point(&self) -> Vec<u8> {
        match self {
            Self::Rsa(_) => None,
            Self::P256(key) => Some(key.verifying_key().to_sec1_point(false).as_bytes().to_vec()),
            Self::P384(key) => Some(key.verifying_key().to_sec1_point(false).as_bytes().to_vec()),
        }
        .expect("a point is of a curve")
    }

    /// Its modulus, big-endian.
    ///
    /// # Panics
    /// For another key than RSA.
    #[must_use]
    pub fn modulus(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => Some(key.modulus()),
            Self::P256(_) | Self::P384(_) => None,
        }
        .expect("a modulus is of rsa")
    }

    /// A signature over a message as certificates carry it: ECDSA in DER.
    ///
    /// # Panics
    /// If the scheme is not of the key's kind.
    #[must_use]
    pub fn sign(&self, scheme: Scheme, message: &[u8]) -> Vec<u8> {
        match (self, scheme) {
            (Self::Rsa(key), Scheme::Pkcs1(hash)) => Some(key.sign_pkcs1(hash, message)),
            (Self::Rsa(key), Scheme::Pss(hash, salt)) => {
                Some(key.sign_pss(hash, salt.into(), message))
            }
            (Self::P256(_) | Self::P384(_), Scheme::Ecdsa(hash)) => {
                let (r, s) = self.sign_raw(hash, message);
                Some(der::sequence(&[&der::unsigned(&r), &der::unsigned(&s)]))
            }
            (Self::Rsa(_), Scheme::Ecdsa(_))
            | (Self::P256(_) | Self::P384(_), Scheme::Pkcs1(_) | Scheme::Pss(..)) => None,
        }
        .expect("a scheme is of its key's kind")
    }

    /// r and s of an ECDSA signature, big-endian, as long as the curve's order.
    ///
    /// # Panics
    /// For an RSA key.
    #[must_use]
    pub fn sign_raw(&self, hash: Hash, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let digest = hash.digest(message);
        match self {
            Self::Rsa(_) => None,
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
                let (r, s) = signature.split_bytes();
                Some((r.to_vec(), s.to_vec()))
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
                let (r, s) = signature.split_bytes();
                Some((r.to_vec(), s.to_vec()))
            }
        }
        .expect("r and s are of a curve")
    }
}
