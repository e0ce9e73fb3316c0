//! A paravisor's report, then a TDX quote, each after its length in 16 bits: no panic, every check is reported, and
//! nothing is verified whose guest's bytes are in no seed.
#![no_main]

use countersign_evidence::azure::{
    AzureCheck, AzureEvidence, AzurePolicy, Demand, Hardware, KeyOperationPolicy,
    appraise_paravisor,
};
use libfuzzer_sys::fuzz_target;

fn part<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return &[];
    };
    let (part, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *bytes = rest;
    part
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let (report, quote) = (part(&mut rest), part(&mut rest));
    let evidence = AzureEvidence {
        report,
        td_quote: (!quote.is_empty()).then_some(quote),
    };
    for hardware in [Hardware::Snp, Hardware::Tdx] {
        let policy = AzurePolicy {
            hardware,
            user_data: Some([0x5a; 64]),
            secure_boot: Demand::Any,
            tpm_persisted: Demand::Any,
            console_off: Demand::Any,
            machines: None,
            key_operation: KeyOperationPolicy::EncryptToo,
            accepted_members: vec![],
        };
        let appraisal = appraise_paravisor(&evidence, &policy);
        assert!(
            appraisal
                .checks()
                .iter()
                .map(|it| it.code)
                .eq(AzureCheck::ALL.iter().copied())
        );
        assert!(appraisal.verified().is_none());
    }
});
