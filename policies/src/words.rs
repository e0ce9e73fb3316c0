//! Digests that two people can read to each other.
//!
//! In: bytes. Out: pronounceable words of five letters, one per 16 bits, joined by hyphens:
//! consonant, vowel, consonant, vowel, consonant carry 4 + 2 + 4 + 2 + 4 bits.
//!
//! Source: D. S. Wilkerson, "A Proposal for Proquints: Identifiers that are Readable,
//! Spellable, and Pronounceable", arXiv 0901.4016.

const CONSONANTS: [char; 16] = [
    'b', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'z',
];
const VOWELS: [char; 4] = ['a', 'i', 'o', 'u'];

/// The bytes in words; an odd last byte is filled up with zero bits.
#[must_use]
pub fn words(bytes: &[u8]) -> String {
    bytes.chunks(2).map(word).collect::<Vec<_>>().join("-")
}

fn word(pair: &[u8]) -> String {
    let high = pair.first().copied().unwrap_or(0);
    let low = pair.get(1).copied().unwrap_or(0);
    let n = u16::from_be_bytes([high, low]);
    let consonant =
        |shift: u32| CONSONANTS.get(usize::from(n.checked_shr(shift).unwrap_or(0) & 15));
    let vowel = |shift: u32| VOWELS.get(usize::from(n.checked_shr(shift).unwrap_or(0) & 3));
    [
        consonant(12),
        vowel(10),
        consonant(6),
        vowel(4),
        consonant(0),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_the_proposal_says() {
        // 127.0.0.1, the first example of the proposal.
        assert_eq!(words(&[127, 0, 0, 1]), "lusab-babad");
    }

    #[test]
    fn each_pair_of_bytes_has_a_word_of_its_own() {
        let all: std::collections::HashSet<_> =
            (0..=u16::MAX).map(|n| words(&n.to_be_bytes())).collect();
        assert_eq!(all.len(), 65_536);
    }
}
