//! Every single bit of what is presented, and bytes of any kind.

use proptest::prelude::*;

use super::*;

fn each_bit(bytes: &[u8], mut look: impl FnMut(usize, u8, &[u8])) {
    let mut changed = bytes.to_vec();
    for at in 0..changed.len() {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            look(at, bit, &changed);
            changed[at] ^= 1 << bit;
        }
    }
}

#[test]
fn every_changed_bit_of_a_quote_is_refused() {
    let good = Case::extended(|_| ());
    // Signatures of what did not change are remembered, so that only what changed is verified.
    let mut chains = Chains::new();
    assert!(good.appraise_with(&mut chains).verified().is_some());
    let mut case = good.clone();
    each_bit(&good.quote, |at, bit, changed| {
        case.quote.clear();
        case.quote.extend_from_slice(changed);
        let holds = case.appraise_with(&mut chains).verified().is_some();
        assert!(!holds, "bit {bit} of byte {at}");
    });
}

/// Quoting services end the certificates with a zero byte. It is the one byte of a quote that nobody signs
/// and that has a second value: a space means as little there.
#[test]
fn every_changed_bit_of_a_real_quote_is_refused_but_one_that_means_nothing() {
    let file = include_bytes!("../../../vectors/tdx/dcap-qvl/tdx_quote");
    let mut case = captures::capture(file, None, "2026-02-25");
    let mut chains = Chains::new();
    let original = case.quote.clone();
    assert_eq!(
        failed(&case.appraise_with(&mut chains)),
        ["tdx.collateral.present"]
    );
    assert_eq!(original.last(), Some(&0));
    let last = original.len() - 1;
    each_bit(&original, |at, bit, changed| {
        case.quote.clear();
        case.quote.extend_from_slice(changed);
        let failures = failed(&case.appraise_with(&mut chains)).len();
        let means_nothing = (at, bit) == (last, 5);
        assert_eq!(failures == 1, means_nothing, "bit {bit} of byte {at}");
    });
}

#[test]
fn every_changed_bit_of_collateral_is_refused() {
    type Part = fn(&mut Collateral) -> &mut Vec<u8>;
    let parts: [Part; 8] = [
        |it| &mut it.tcb_info,
        |it| &mut it.tcb_info_signature,
        |it| &mut it.tcb_info_chain,
        |it| &mut it.qe_identity,
        |it| &mut it.qe_identity_signature,
        |it| &mut it.qe_identity_chain,
        |it| &mut it.pck_crl,
        |it| &mut it.root_crl,
    ];
    let good = Case::good();
    let mut chains = Chains::new();
    assert!(good.appraise_with(&mut chains).verified().is_some());
    for (number, part) in parts.into_iter().enumerate() {
        let mut case = good.clone();
        let original = part(case.collateral.as_mut().unwrap()).clone();
        each_bit(&original, |at, bit, changed| {
            let bytes = part(case.collateral.as_mut().unwrap());
            bytes.clear();
            bytes.extend_from_slice(changed);
            let holds = case.appraise_with(&mut chains).verified().is_some();
            assert!(!holds, "bit {bit} of byte {at} of part {number}");
        });
        *part(case.collateral.as_mut().unwrap()) = original;
    }
}

#[test]
fn every_cut_of_a_quote_is_refused() {
    let good = Case::good();
    let mut chains = Chains::new();
    for length in 0..good.quote.len() {
        let case = Case {
            quote: good.quote[..length].to_vec(),
            ..good.clone()
        };
        assert!(case.appraise_with(&mut chains).verified().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic_or_hold(
        quote in proptest::collection::vec(any::<u8>(), 0..2000),
        said in proptest::collection::vec(any::<u8>(), 0..300),
        log in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut case = Case::good();
        case.quote = quote;
        case.collateral = Some(Collateral {
            tcb_info: said.clone(),
            tcb_info_signature: said.clone(),
            tcb_info_chain: said.clone(),
            qe_identity: said.clone(),
            qe_identity_signature: said.clone(),
            qe_identity_chain: said.clone(),
            pck_crl: said.clone(),
            root_crl: said.clone(),
        });
        case.event_log = Some(log);
        prop_assert!(case.appraise().verified().is_none());
        let _ = without_padding(&case.quote);
        let _ = Collateral::from_json(&said);
    }

    #[test]
    fn a_quote_with_several_changed_bytes_does_not_panic(
        changes in proptest::collection::vec((0_usize..8000, any::<u8>()), 1..8),
    ) {
        let mut case = Case::extended(|_| ());
        let length = case.quote.len();
        for (at, byte) in changes {
            case.quote[at % length] = byte;
        }
        let appraisal = case.appraise();
        let codes: Vec<_> = appraisal.checks().iter().map(|it| it.code).collect();
        prop_assert_eq!(codes, TdxCheck::ALL);
    }
}
