//! EMSA-PSS with SHA-256 and a salt of 32 bytes, verification alone.
//!
//! In: the message that an RSA signature opens to, the digest that it should be over. Out: whether it
//! is. Nothing here is secret. Spec: RFC 8017 9.1.2, by its steps; RFC 7518 3.5 fixes hash, MGF and salt.

use sha2::{Digest as _, Sha256};

/// Length of SHA-256, and of the salt.
const HASH: usize = 32;

/// Whether `message`, as long as the modulus of `bits`, is the encoding of this digest.
pub(crate) fn holds(message: &[u8], bits: u32, digest: &[u8; HASH]) -> bool {
    encoded(message, bits, digest).is_some()
}

fn encoded(message: &[u8], bits: u32, digest: &[u8; HASH]) -> Option<()> {
    let bits = usize::try_from(bits).ok()?.checked_sub(1)?;
    let length = bits.div_ceil(8);
    // The encoding is one bit shorter than the modulus; where that saves a byte, it is zero.
    let extra = message.len().checked_sub(length)?;
    let (zeros, message) = message.split_at_checked(extra)?;
    // Steps 3 and 4.
    let (0xbc, message) = (*message.last()?, message) else {
        return None;
    };
    let data_length = length.checked_sub(HASH)?.checked_sub(1)?;
    let (masked, rest) = message.split_at_checked(data_length)?;
    let hash = rest.get(..HASH)?;
    // Steps 6 to 9: the leftmost bits are zero, in the mask as in the data.
    let unused = length.checked_mul(8)?.checked_sub(bits)?;
    let keep = 0xff_u8.checked_shr(u32::try_from(unused).ok()?)?;
    let mut data: Vec<u8> = masked
        .iter()
        .zip(mask(hash, data_length)?)
        .map(|(a, b)| a ^ b)
        .collect();
    if zeros.iter().any(|b| *b != 0) || masked.first()? & !keep != 0 {
        return None;
    }
    let first = data.first_mut()?;
    *first &= keep;
    // Step 10.
    let salt_at = data_length.checked_sub(HASH)?;
    let (padding, salt) = data.split_at_checked(salt_at)?;
    let (one, zeros) = padding.split_last()?;
    if *one != 1 || zeros.iter().any(|b| *b != 0) {
        return None;
    }
    // Steps 12 to 14.
    let expected = Sha256::new()
        .chain_update([0; 8])
        .chain_update(digest)
        .chain_update(salt)
        .finalize();
    (expected.as_slice() == hash).then_some(())
}

/// MGF1 with SHA-256. RFC 8017 B.2.1.
fn mask(seed: &[u8], length: usize) -> Option<Vec<u8>> {
    let blocks = u32::try_from(length.div_ceil(HASH)).ok()?;
    let mut out: Vec<u8> = (0..blocks)
        .flat_map(|counter| {
            let block: [u8; HASH] = Sha256::new()
                .chain_update(seed)
                .chain_update(counter.to_be_bytes())
                .finalize()
                .into();
            block
        })
        .collect();
    out.truncate(length);
    Some(out)
}
