//! RSA signatures, PKCS1-v1_5 and PSS, verification alone: one public exponentiation, and every byte compared.
//!
//! Public because the gateway verifies tokens of issuers with it, so that there is one RSA here.
//! In: a public key, a signature, the DigestInfo that it has to be over. Relies on `crypto-bigint`
//! for arithmetic. The padding of PKCS1-v1_5 is built and compared, never parsed, so there is nothing to be
//! lenient about. Nothing here is secret.
//!
//! Spec: RFC 8017 8.1.2, 8.2.2, 9.1.2 and 9.2.

use crate::algorithm::Hash;
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U64, U4096};

/// Shortest accepted modulus, in bits. Less has been factored, or could be soon.
const MIN_BITS: u32 = 2048;
/// Bytes of the longest accepted modulus, 4096 bits: what authorities use at most.
const MAX_BYTES: usize = 512;

/// The signature is not by this key over these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSigned;

/// A public key that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    modulus: Odd<U4096>,
    /// Length of the modulus, in bytes.
    length: usize,
    exponent: u64,
}

impl RsaKey {
    /// From the bytes of the modulus, without leading zeros, and the exponent.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn new(modulus: &[u8], exponent: u64) -> Result<Self, &'static str> {
        let length = modulus.len();
        let n = widened(modulus).ok_or("its modulus has more than 4096 bits")?;
        if n.bits_vartime() < MIN_BITS {
            return Err("its modulus has fewer than 2048 bits");
        }
        // An exponent of 1 would let anybody sign. Larger ones than these are not in use.
        if exponent < 3 || exponent.is_multiple_of(2) || exponent > u64::from(u32::MAX) {
            return Err("its exponent is not an odd number from 3 to 4294967295");
        }
        let modulus = Odd::new(n)
            .into_option()
            .ok_or("its modulus is an even number")?;
        Ok(Self {
            modulus,
            length,
            exponent,
        })
    }

    /// Whether the signature holds over the encoded DigestInfo.
    ///
    /// # Errors
    /// If it does not.
    pub fn verify(&self, digest_info: &[u8], signature: &[u8]) -> Result<(), NotSigned> {
        let message = self.message(signature).ok_or(NotSigned)?;
        if message == self.encoded(digest_info).ok_or(NotSigned)? {
            Ok(())
        } else {
            Err(NotSigned)
        }
    }

    /// Whether an RSASSA-PSS signature holds over a message: digest and mask by `hash`, a salt as long as its digest.
    ///
    /// # Errors
    /// If it does not.
    pub fn verify_pss(
        &self,
        hash: Hash,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), NotSigned> {
        let encoded = self.message(signature).ok_or(NotSigned)?;
        // SPEC: RFC 8017 9.1.2, for lengths of whole bytes: the highest bit of the first byte is not used.
        if self.bits() != u32::try_from(self.length.saturating_mul(8)).map_err(|_| NotSigned)? {
            return Err(NotSigned);
        }
        let (rest, trailer) = encoded
            .split_at_checked(encoded.len().saturating_sub(1))
            .ok_or(NotSigned)?;
        let masked = rest.len().checked_sub(hash.length()).ok_or(NotSigned)?;
        let (masked, digest) = rest.split_at_checked(masked).ok_or(NotSigned)?;
        if trailer != [0xbc] || masked.first().is_none_or(|b| *b >= 0x80) {
            return Err(NotSigned);
        }
        let mut block: Vec<u8> = masked
            .iter()
            .zip(mask(hash, digest, masked.len()))
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        if let Some(first) = block.first_mut() {
            *first &= 0x7f;
        }
        let zeros = block
            .len()
            .checked_sub(hash.length().saturating_add(1))
            .ok_or(NotSigned)?;
        let (padding, salt) = block.split_at_checked(zeros).ok_or(NotSigned)?;
        let salt = salt.strip_prefix(&[1]).ok_or(NotSigned)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(NotSigned);
        }
        let expected = hash.digest(&[&[0; 8], hash.digest(message).as_slice(), salt].concat());
        if expected == digest {
            Ok(())
        } else {
            Err(NotSigned)
        }
    }

    /// What was padded and raised to the private exponent, as long as the modulus; judging its padding is the caller's.
    #[must_use]
    pub fn message(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != self.length {
            return None;
        }
        let s = widened(signature)?;
        if s >= *self.modulus.as_ref() {
            return None;
        }
        let params = FixedMontyParams::new_vartime(self.modulus);
        let message = FixedMontyForm::new(&s, &params)
            .pow_vartime(&U64::from_u64(self.exponent))
            .retrieve()
            .to_be_bytes();
        let zeros = MAX_BYTES.checked_sub(self.length)?;
        message.as_ref().get(zeros..).map(<[u8]>::to_vec)
    }

    /// Length of the modulus, in bits.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.modulus.as_ref().bits_vartime()
    }

    /// EMSA-PKCS1-v1_5: 00 01, FF as often as fits and eight times at least, 00, DigestInfo.
    fn encoded(&self, digest_info: &[u8]) -> Option<Vec<u8>> {
        let fill = self
            .length
            .checked_sub(3)?
            .checked_sub(digest_info.len())
            .filter(|n| *n >= 8)?;
        Some([&[0, 1], vec![0xff; fill].as_slice(), &[0], digest_info].concat())
    }
}

/// MGF1. SPEC: RFC 8017 B.2.1.
fn mask(hash: Hash, seed: &[u8], length: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|counter| hash.digest(&[seed, &counter.to_be_bytes()].concat()))
        .take(length)
        .collect()
}

/// A number of at most 4096 bits.
fn widened(bytes: &[u8]) -> Option<U4096> {
    let zeros = MAX_BYTES.checked_sub(bytes.len())?;
    let wide = [vec![0; zeros].as_slice(), bytes].concat();
    Some(U4096::from_be_slice(&wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_keys_are_refused() {
        assert!(RsaKey::new(&[0xff; 255], 65537).is_err());
        assert!(RsaKey::new(&[0xff; 256], 65537).is_ok());
        assert!(RsaKey::new(&[0xff; 512], 65537).is_ok());
        assert!(RsaKey::new(&[0xff; 513], 65537).is_err());
    }

    #[test]
    fn a_modulus_of_2047_bits_is_too_short() {
        let mut modulus = [0xff; 256];
        modulus[0] = 0x7f;
        assert!(RsaKey::new(&modulus, 65537).is_err());
    }

    #[test]
    fn an_exponent_that_signs_for_everybody_is_refused() {
        for exponent in [0, 1, 2, 65536, 1 << 32, u64::MAX] {
            assert!(RsaKey::new(&[0xff; 256], exponent).is_err(), "{exponent}");
        }
    }

    #[test]
    fn an_even_modulus_is_refused() {
        let mut modulus = [0xff; 256];
        modulus[255] = 0xfe;
        assert!(RsaKey::new(&modulus, 3).is_err());
    }

    #[test]
    fn a_signature_that_is_not_below_the_modulus_is_refused() {
        // 1 to any power is 1, and so is modulus + 1: two texts of one signature, of which one may count.
        let key = RsaKey::new(&[0xff; 256], 3).unwrap();
        assert!(key.verify(&[], &[0xff; 256]).is_err());
        assert!(key.verify(&[], &[0; 257]).is_err());
    }
}
