//! Every single bit of evidence, turned. Nothing in a report or in its chain is left unsigned but what is
//! reserved, and that has to be zero.

use super::*;

struct Bits {
    built: fake::Evidence,
    policy: Policy,
    roots: Roots,
    chains: Chains,
}

impl Bits {
    fn new() -> Self {
        let built = Draft::new(fake::Product::Milan, Kind::Vcek).build();
        let mut bits = Self {
            built,
            policy: full_policy(Product::Milan),
            roots: roots(Product::Milan),
            chains: Chains::new(),
        };
        let good = bits.built.clone();
        assert!(bits.accepts(&good));
        bits
    }

    fn accepts(&mut self, built: &fake::Evidence) -> bool {
        let appraisal = appraise_snp(
            &evidence(built),
            &self.policy,
            &self.roots,
            AT,
            &mut self.chains,
        );
        appraisal.verified().is_some()
    }

    /// Places where a turned bit is accepted.
    fn accepted(&mut self, part: fn(&mut fake::Evidence) -> &mut Vec<u8>) -> Vec<(usize, u8)> {
        let mut altered = self.built.clone();
        let mut out = Vec::new();
        for place in 0..part(&mut altered).len() {
            for bit in 0..8 {
                part(&mut altered)[place] ^= 1 << bit;
                if self.accepts(&altered) {
                    out.push((place, bit));
                }
                part(&mut altered)[place] ^= 1 << bit;
            }
        }
        out
    }
}

#[test]
fn no_bit_of_a_report_can_be_turned() {
    assert_eq!(Bits::new().accepted(|e| &mut e.report), []);
}

#[test]
fn no_bit_of_the_signing_keys_certificate_can_be_turned() {
    assert_eq!(Bits::new().accepted(|e| &mut e.key), []);
}

#[test]
fn no_bit_of_the_issuers_certificate_can_be_turned() {
    assert_eq!(Bits::new().accepted(|e| &mut e.issuer), []);
}

#[test]
fn no_bit_of_the_roots_certificate_can_be_turned() {
    assert_eq!(Bits::new().accepted(|e| &mut e.root), []);
}

#[test]
fn no_bit_of_the_revocation_list_can_be_turned() {
    assert_eq!(Bits::new().accepted(|e| e.crl.as_mut().unwrap()), []);
}
