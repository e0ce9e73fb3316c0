//! RSA for fakes: signatures under keys of nobody. Not constant in time, for there is no secret.
//!
//! SPEC: RFC 8017 5.2.1 (signing with the primes), 8.1 and 9.1 (PSS), 8.2 and 9.2 (PKCS #1 v1.5).

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U2048, U4096};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A digest that a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// The digest of a message.
    #[must_use]
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    /// Its object identifier, with dots.
    #[must_use]
    pub fn oid(self) -> &'static str {
        match self {
            Self::Sha256 => "2.16.840.1.101.3.4.2.1",
            Self::Sha384 => "2.16.840.1.101.3.4.2.2",
            Self::Sha512 => "2.16.840.1.101.3.4.2.3",
        }
    }
}

/// A private key of nobody. Its public exponent is 65537.
#[derive(Debug, Clone)]
pub struct RsaPrivate {
    p: Odd<U2048>,
    q: Odd<U2048>,
    dp: U2048,
    dq: U2048,
    qinv: U2048,
    /// Bytes of the modulus.
    length: usize,
}

impl RsaPrivate {
    /// Reads a file of `keys/`.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let part = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
            hex::decode(line.trim()).unwrap()
        };
        let number = |name| {
            let bytes = part(name);
            let mut wide = vec![0; 256 - bytes.len()];
            wide.extend(bytes);
            U2048::from_be_slice(&wide)
        };
        Self {
            p: Odd::new(number("p ")).unwrap(),
            q: Odd::new(number("q ")).unwrap(),
            dp: number("dp "),
            dq: number("dq "),
            qinv: number("qinv "),
            length: part("p ").len() * 2,
        }
    }

    /// The modulus, big-endian, without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> Vec<u8> {
        let n: U4096 = self.p.as_ref().concatenating_mul(self.q.as_ref());
        n.to_be_bytes().as_ref()[512 - self.length..].to_vec()
    }

    /// The private operation on a message as long as the modulus. SPEC: RFC 8017 5.2.1, 2.b
    #[must_use]
    pub fn raise(&self, encoded: &[u8]) -> Vec<u8> {
        let mut wide = vec![0; 512 - encoded.len()];
        wide.extend_from_slice(encoded);
        let m = U4096::from_be_slice(&wide);
        let power = |prime: &Odd<U2048>, exponent: &U2048| {
            let params = FixedMontyParams::new_vartime(*prime);
            let modulus: U4096 = prime.as_ref().resize();
            let reduced: U2048 = m.rem_vartime(&modulus.to_nz().unwrap()).resize();
            FixedMontyForm::new(&reduced, &params)
                .pow_vartime(exponent)
                .retrieve()
        };
        let (m1, m2) = (power(&self.p, &self.dp), power(&self.q, &self.dq));
        let params = FixedMontyParams::new_vartime(self.p);
        let form = |number: &U2048| FixedMontyForm::new(number, &params);
        let reduced = m2.rem_vartime(self.p.as_nz_ref());
        let h = ((form(&m1) - form(&reduced)) * form(&self.qinv)).retrieve();
        let hq: U4096 = h.concatenating_mul(self.q.as_ref());
        let m2: U4096 = m2.resize();
        let s = hq.wrapping_add(&m2);
        s.to_be_bytes().as_ref()[512 - self.length..].to_vec()
    }

    /// RSASSA-PKCS1-v1_5.
    #[must_use]
    pub fn sign_pkcs1(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        let algorithm = crate::der::sequence(&[&crate::der::oid(hash.oid()), &crate::der::null()]);
        let digest = crate::der::octets(&hash.digest(message));
        let info = crate::der::sequence(&[&algorithm, &digest]);
        let fill = vec![0xff; self.length - 3 - info.len()];
        self.raise(&[&[0, 1], fill.as_slice(), &[0], &info].concat())
    }

    /// RSASSA-PSS with MGF1 of the same hash and a salt of so many bytes. The salt is fixed, so that what
    /// fakes say is always the same; nothing secret depends on it.
    #[must_use]
    pub fn sign_pss(&self, hash: Hash, salt_length: usize, message: &[u8]) -> Vec<u8> {
        let salt = vec![0x5a; salt_length];
        let digest = hash.digest(&[&[0; 8], hash.digest(message).as_slice(), &salt].concat());
        let block_length = self.length - digest.len() - 1;
        let zeros = vec![0; block_length - salt.len() - 1];
        let block = [zeros.as_slice(), &[1], &salt].concat();
        let mut masked: Vec<u8> = block
            .iter()
            .zip(mask(hash, &digest, block_length))
            .map(|(a, b)| a ^ b)
            .collect();
        // The moduli in use have a whole number of bytes, of which the highest bit is not used.
        *masked.first_mut().unwrap() &= 0x7f;
        self.raise(&[masked.as_slice(), &digest, &[0xbc]].concat())
    }
}

/// MGF1. SPEC: RFC 8017 B.2.1
fn mask(hash: Hash, seed: &[u8], length: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|counter| hash.digest(&[seed, counter.to_be_bytes().as_slice()].concat()))
        .take(length)
        .collect()
}
