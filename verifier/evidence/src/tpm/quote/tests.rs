use countersign_devices::key::{Key, Rsa};
use countersign_devices::rsa::Hash as Digest;
use countersign_devices::tpm::{
    AK_ATTRIBUTES, ENDORSEMENT, Public, QUOTE, Statement, quoted, selected, signature,
};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::azure::{
    AzureEvidence, AzurePolicy, Demand, Hardware, VerifiedParavisor, appraise_paravisor,
};
use crate::captures::{self, CapturedQuote};
use crate::tpm::{KeyError, KeySignatureError, PlainKey, TpmKey, VouchedKey};

const VALUES: [(u8, [u8; 32]); 4] = [(0, [1; 32]), (4, [2; 32]), (7, [3; 32]), (16, [4; 32])];

/// What a TPM presents; every part is a test's to change.
#[derive(Clone)]
struct Draft {
    public: Public,
    signer: Key,
    hash: Digest,
    statement: Statement,
    pcrs: Vec<(u8, [u8; 32])>,
    event_log: Option<Vec<u8>>,
}

#[derive(Clone)]
struct Bytes {
    public: Vec<u8>,
    quote: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<(u8, [u8; 32])>,
    event_log: Option<Vec<u8>>,
}

impl Draft {
    fn of(key: Key) -> Self {
        let hash = match key {
            Key::P384(_) => Digest::Sha384,
            Key::P256(_) | Key::Rsa(_) => Digest::Sha256,
        };
        let public = Public::of(&key, AK_ATTRIBUTES);
        Self {
            statement: Statement::new(
                QUOTE,
                public.qualified_name(ENDORSEMENT),
                b"nonce of the verifier",
                quoted(&VALUES, hash),
            ),
            public,
            signer: key,
            hash,
            pcrs: VALUES.to_vec(),
            event_log: None,
        }
    }

    fn good() -> Self {
        Self::of(Key::rsa(Rsa::Tpm))
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut draft = Self::good();
        change(&mut draft);
        draft
    }

    fn build(&self) -> Bytes {
        let quote = self.statement.to_bytes();
        Bytes {
            public: self.public.to_bytes(),
            signature: signature(&self.signer, self.hash, &quote),
            quote,
            pcrs: self.pcrs.clone(),
            event_log: self.event_log.clone(),
        }
    }
}

impl Bytes {
    fn evidence(&self) -> QuoteEvidence<'_> {
        QuoteEvidence {
            key: PresentedKey::Public(&self.public),
            quote: &self.quote,
            signature: KeySignature::Tpmt(&self.signature),
            pcrs: self.pcrs.clone(),
            event_log: self.event_log.as_deref(),
        }
    }
}

fn policy<'a>(key: ExpectedKey<'a>) -> QuotePolicy<'a> {
    QuotePolicy {
        key,
        qualifying: Some(b"nonce of the verifier".to_vec()),
        pcrs: PcrSet::new([0, 4, 7]).unwrap(),
        selection: Selection::AtLeast,
        firmware_floor: Some(FirmwareVersion(0x2020_0312_0012_0003)),
    }
}

fn name_of(public: &Public) -> KeyName {
    TpmKey::parse(&public.to_bytes()).unwrap().name()
}

fn codes(appraisal: &QuoteAppraisal) -> Vec<&'static str> {
    let listed: Vec<_> = appraisal.checks().iter().map(|it| it.code).collect();
    assert_eq!(listed, QuoteCheck::ALL);
    appraisal.failures().map(|it| it.code.as_str()).collect()
}

/// The checks that fail, with the draft's own key pinned.
fn failures(draft: &Draft) -> Vec<&'static str> {
    let name = TpmKey::parse(&draft.public.to_bytes()).map(|key| key.name());
    let names = [name.unwrap_or(name_of(&Draft::good().public))];
    let bytes = draft.build();
    let appraisal = appraise_quote(&bytes.evidence(), &policy(ExpectedKey::Named(&names)));
    let codes = codes(&appraisal);
    assert_eq!(appraisal.verified().is_some(), codes.is_empty());
    codes
}

fn outcome(appraisal: &QuoteAppraisal, code: QuoteCheck) -> Outcome {
    let of_code = |it: &&Check<QuoteCheck>| it.code == code;
    appraisal.checks().iter().find(of_code).unwrap().outcome
}

#[test]
fn a_quote_of_each_accepted_algorithm_says_values_session_clock_and_firmware() {
    for key in [Key::rsa(Rsa::Tpm), Key::p256(3), Key::p384(3)] {
        let draft = Draft::of(key);
        let (bytes, names) = (draft.build(), [name_of(&draft.public)]);
        let appraisal = appraise_quote(&bytes.evidence(), &policy(ExpectedKey::Named(&names)));
        assert_eq!(codes(&appraisal), [""; 0]);
        let verified = appraisal.verified().unwrap();
        assert_eq!(verified.key(), names[0]);
        assert_eq!(verified.class(), EvidenceClass::UnendorsedTpm);
        assert_eq!(verified.parties(), []);
        assert_eq!(verified.clock_ms(), 123_456);
        assert_eq!(
            verified.session(),
            TpmSession {
                reset_count: 7,
                restart_count: 0
            }
        );
        assert_eq!(
            verified.firmware_version(),
            FirmwareVersion(0x2020_0312_0012_0003)
        );
        // 16 was quoted, and is nothing that anybody may rest on.
        assert_eq!(
            verified.pcrs().keys().copied().collect::<Vec<_>>(),
            [0, 4, 7]
        );
        assert_eq!(verified.pcrs().get(&7), Some(&[3; 32]));
    }
}

#[test]
fn a_p_384_key_may_sign_and_be_named_by_sha_256() {
    let mut draft = Draft::of(Key::p384(3));
    draft.public.name_algorithm = 0xb;
    draft.public.hash = 0xb;
    draft.hash = Digest::Sha256;
    draft.statement.signer = draft.public.qualified_name(ENDORSEMENT);
    draft.statement.attested = quoted(&VALUES, Digest::Sha256);
    assert_eq!(failures(&draft), [""; 0]);
}

#[test]
fn a_public_area_of_another_form_is_refused() {
    let changes: [fn(&mut Public); 13] = [
        |it| it.trailing = vec![0],
        |it| it.kind = 8,
        |it| it.name_algorithm = 4,
        |it| it.name_algorithm = 0xd,
        |it| it.symmetric = 6,
        |it| it.scheme = 0x10,
        |it| it.scheme = 0x16,
        |it| it.hash = 4,
        |it| it.hash = 0xc,
        |it| it.parameters[1] ^= 8,
        |it| it.parameters[5] = 3,
        |it| it.unique[0][255] ^= 1,
        |it| {
            it.unique[0].remove(0);
        },
    ];
    for change in changes {
        let draft = Draft::with(|it| change(&mut it.public));
        assert_eq!(failures(&draft)[0], "tpm.key.public");
    }
    let mut wrong = Draft::of(Key::p256(3));
    let changes: [fn(&mut Public); 5] = [
        |it| it.unique[0][0] ^= 1,
        |it| it.parameters[1] = 4,
        |it| it.parameters[1] = 0x10,
        |it| it.parameters[3] = 0x20,
        |it| it.hash = 0xc,
    ];
    for change in changes {
        wrong.public = Public::of(&Key::p256(3), AK_ATTRIBUTES);
        change(&mut wrong.public);
        assert_eq!(failures(&wrong)[0], "tpm.key.public");
    }
}

#[test]
fn an_exponent_may_be_written_out() {
    let mut public = Public::of(&Key::rsa(Rsa::Tpm), AK_ATTRIBUTES);
    public.parameters[2..].copy_from_slice(&65537_u32.to_be_bytes());
    assert!(TpmKey::parse(&public.to_bytes()).is_ok());
    public.parameters[2..].copy_from_slice(&3_u32.to_be_bytes());
    assert_eq!(
        TpmKey::parse(&public.to_bytes()).err(),
        Some(KeyError::Rsa("its exponent is not 65537"))
    );
}

#[test]
fn each_wrong_attribute_of_the_key_is_refused() {
    for bit in [1_u32, 4, 5, 16, 18, 17, 19, 11, 2, 7] {
        let public = Public::of(&Key::rsa(Rsa::Tpm), AK_ATTRIBUTES ^ 1 << bit);
        let draft = Draft::with(|it| {
            it.statement.signer = public.qualified_name(ENDORSEMENT);
            it.public = public;
        });
        assert_eq!(failures(&draft), ["tpm.key.attributes"], "bit {bit}");
    }
}

#[test]
fn a_key_that_is_not_pinned_is_refused_and_an_empty_list_pins_none() {
    let bytes = Draft::good().build();
    let other = [name_of(&Public::of(&Key::p256(9), AK_ATTRIBUTES))];
    for names in [&other[..], &[]] {
        let appraisal = appraise_quote(&bytes.evidence(), &policy(ExpectedKey::Named(names)));
        assert_eq!(codes(&appraisal), ["tpm.key.vouched"]);
        assert!(appraisal.verified().is_none());
    }
}

#[test]
fn a_key_that_is_vouched_for_by_name_has_no_other_public_area() {
    let draft = Draft::good();
    let named = |public: &Public| {
        let tpm = TpmKey::parse(&public.to_bytes()).unwrap();
        VouchedKey::new(tpm.plain().clone(), EvidenceClass::ParavisorTpm, vec![]).passes_on_to(&tpm)
    };
    let found = |vouched: &VouchedKey| {
        let bytes = draft.build();
        let appraisal = appraise_quote(&bytes.evidence(), &policy(ExpectedKey::Vouched(vouched)));
        codes(&appraisal)
    };
    assert_eq!(found(&named(&draft.public)), [""; 0]);
    // The same modulus, as a TPM would name it with other attributes.
    let other = Public::of(&Key::rsa(Rsa::Tpm), 0x0005_0072);
    assert_eq!(found(&named(&other)), ["tpm.key.vouched"]);
}

#[test]
fn without_anybody_who_vouches_or_a_nonce_nothing_is_verified() {
    let bytes = Draft::good().build();
    let appraisal = appraise_quote(&bytes.evidence(), &policy(ExpectedKey::Nobody));
    assert_eq!(codes(&appraisal), [""; 0]);
    assert!(appraisal.verified().is_none());
    let names = [name_of(&Draft::good().public)];
    let no_nonce = QuotePolicy {
        qualifying: None,
        ..policy(ExpectedKey::Named(&names))
    };
    let appraisal = appraise_quote(&bytes.evidence(), &no_nonce);
    assert_eq!(codes(&appraisal), [""; 0]);
    assert_eq!(
        outcome(&appraisal, QuoteCheck::Qualifying),
        Outcome::NotChecked
    );
    assert!(appraisal.verified().is_none());
}

#[test]
fn a_quote_of_another_form_or_type_is_refused() {
    let changes: [fn(&mut Statement); 5] = [
        |it| it.magic ^= 1,
        |it| it.kind = 0x8017,
        |it| it.trailing = vec![0],
        |it| it.safe = 2,
        |it| {
            it.attested.pop();
        },
    ];
    for change in changes {
        let draft = Draft::with(|it| change(&mut it.statement));
        assert_eq!(failures(&draft), ["tpm.quote.structure"]);
    }
}

#[test]
fn a_quote_by_another_key_is_refused() {
    let draft = Draft::with(|it| it.signer = Key::rsa(Rsa::Endorsement));
    assert_eq!(failures(&draft), ["tpm.quote.signature"]);
    for (key, other) in [(Key::p256(3), Key::p256(4)), (Key::p384(3), Key::p384(4))] {
        let mut draft = Draft::of(key);
        draft.signer = other;
        assert_eq!(failures(&draft), ["tpm.quote.signature"]);
    }
}

#[test]
fn signatures_of_another_form_are_refused_by_that_reason() {
    let mismatch = KeySignatureError::Mismatch;
    for key in [Key::rsa(Rsa::Tpm), Key::p256(3), Key::p384(3)] {
        let draft = Draft::of(key);
        let (bytes, tpm) = (
            draft.build(),
            TpmKey::parse(&draft.public.to_bytes()).unwrap(),
        );
        let verify = |signature: &[u8]| tpm.verify(&bytes.quote, KeySignature::Tpmt(signature));
        assert_eq!(verify(&bytes.signature), Ok(()));
        let form = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut signature = bytes.signature.clone();
            change(&mut signature);
            matches!(verify(&signature), Err(KeySignatureError::Form(_)))
        };
        assert!(form(&|it| it.push(0)));
        assert!(form(&|it| it.clear()));
        assert!(form(&|it| it[1] ^= 1));
        assert!(form(&|it| it[3] = 4));
        assert!(form(&|it| it[5] = it[5].wrapping_add(1)));
    }
    let rsa = TpmKey::parse(&Draft::good().public.to_bytes()).unwrap();
    let bytes = Draft::good().build();
    let raw = KeySignature::RsaRaw(&bytes.signature[6..]);
    assert_eq!(rsa.verify(&bytes.quote, raw), Ok(()));
    let short = KeySignature::RsaRaw(&bytes.signature[7..]);
    assert_eq!(rsa.verify(&bytes.quote, short), Err(mismatch));
    let ecc = TpmKey::parse(&Public::of(&Key::p256(3), AK_ATTRIBUTES).to_bytes()).unwrap();
    assert_eq!(
        ecc.verify(&bytes.quote, raw),
        Err(KeySignatureError::NotRsa)
    );
    for (public, width) in [
        (Public::of(&Key::p256(3), AK_ATTRIBUTES), 32_u16),
        (Public::of(&Key::p384(3), AK_ATTRIBUTES), 48),
    ] {
        let tpm = TpmKey::parse(&public.to_bytes()).unwrap();
        let scalar = |byte| vec![byte; width.into()];
        for (r, s) in [(scalar(0), scalar(1)), (scalar(0xff), scalar(1))] {
            let number = |it: &[u8]| [&width.to_be_bytes(), it].concat();
            let hash = [0, if width == 48 { 0xc } else { 0xb }];
            let signature = [&[0, 0x18], hash.as_slice(), &number(&r), &number(&s)].concat();
            assert_eq!(
                tpm.verify(b"", KeySignature::Tpmt(&signature)),
                Err(KeySignatureError::OutOfRange)
            );
        }
    }
}

#[test]
fn a_key_of_another_hierarchy_is_refused() {
    for hierarchy in [0x4000_0001, 0x4000_0007, 0x4000_000c] {
        let draft = Draft::with(|it| it.statement.signer = it.public.qualified_name(hierarchy));
        assert_eq!(failures(&draft), ["tpm.quote.signer"]);
    }
}

#[test]
fn other_qualifying_data_are_refused_whole() {
    for other in [
        b"nonce of the verifie".as_slice(),
        b"nonce of the verifier\0",
        b"",
    ] {
        let draft = Draft::with(|it| it.statement.qualifying = other.to_vec());
        assert_eq!(failures(&draft), ["tpm.quote.qualifying"]);
    }
}

#[test]
fn a_clock_that_the_tpm_does_not_vouch_for_is_refused() {
    let draft = Draft::with(|it| it.statement.safe = 0);
    assert_eq!(failures(&draft), ["tpm.quote.clock"]);
}

#[test]
fn a_selection_without_a_register_that_is_asked_for_is_refused() {
    let values = &VALUES[..2];
    let draft = Draft::with(|it| {
        it.pcrs = values.to_vec();
        it.statement.attested = quoted(values, Digest::Sha256);
    });
    assert_eq!(failures(&draft), ["tpm.quote.selection"]);
}

#[test]
fn a_selection_of_more_than_is_asked_for_is_refused_where_it_has_to_be_exact() {
    let (bytes, names) = (Draft::good().build(), [name_of(&Draft::good().public)]);
    let exactly = QuotePolicy {
        selection: Selection::Exactly,
        ..policy(ExpectedKey::Named(&names))
    };
    let appraisal = appraise_quote(&bytes.evidence(), &exactly);
    assert_eq!(codes(&appraisal), ["tpm.quote.selection"]);
    let draft = Draft::with(|it| {
        it.pcrs = VALUES[..3].to_vec();
        it.statement.attested = quoted(&VALUES[..3], Digest::Sha256);
    });
    let appraisal = appraise_quote(&draft.build().evidence(), &exactly);
    assert_eq!(codes(&appraisal), [""; 0]);
}

#[test]
fn other_banks_or_selections_are_refused() {
    let digest = [0; 32];
    let select = [0x91, 0, 1].as_slice();
    let none: &[(u16, &[u8])] = &[];
    for banks in [
        none,
        &[(4, select)],
        &[(0xb, select), (0xb, select)],
        &[(0xb, select), (4, select)],
        &[(0xb, &[0x91, 0])],
        &[(0xb, &[0x91, 0, 1, 1])],
    ] {
        let draft = Draft::with(|it| it.statement.attested = selected(banks, &digest));
        assert_eq!(failures(&draft), ["tpm.quote.selection"]);
    }
    let draft = Draft::with(|it| it.statement.attested = selected(&[(0xb, &[0; 3])], &digest));
    assert_eq!(
        failures(&draft),
        ["tpm.quote.selection", "tpm.quote.digest"]
    );
}

#[test]
fn sixteen_selections_are_read_and_no_more() {
    for (count, code) in [(16, "tpm.quote.selection"), (17, "tpm.quote.structure")] {
        let banks = vec![(4, [0x91, 0, 1].as_slice()); count];
        let draft = Draft::with(|it| it.statement.attested = selected(&banks, &[0; 32]));
        assert_eq!(failures(&draft)[0], code);
    }
}

#[test]
fn a_bare_key_of_each_kind_is_known_by_the_name_of_its_signer() {
    for key in [Key::rsa(Rsa::Tpm), Key::p256(3), Key::p384(3)] {
        let plain = PlainKey::spki(&key.spki()).unwrap();
        for attributes in [AK_ATTRIBUTES, 0x0005_0072] {
            let mut public = Public::of(&key, attributes);
            (public.name_algorithm, public.hash) = (0xb, 0xb);
            let found = plain.identify(&public.qualified_name(ENDORSEMENT));
            assert_eq!(found.map(|it| it.name()), Some(name_of(&public)));
        }
        let other = Public::of(&Key::p256(9), AK_ATTRIBUTES);
        assert!(plain.identify(&other.qualified_name(ENDORSEMENT)).is_none());
    }
}

#[test]
fn values_that_are_not_the_quoted_ones_are_refused() {
    type Change = fn(&mut Vec<(u8, [u8; 32])>);
    let changes: [Change; 6] = [
        |it| it[1].1[31] ^= 1,
        |it| (it[0].1, it[1].1) = (it[1].1, it[0].1),
        |it| it.push((7, [3; 32])),
        |it| it.push((9, [0; 32])),
        |it| it.truncate(3),
        |it| it[2].0 = 8,
    ];
    for change in changes {
        let draft = Draft::with(|it| change(&mut it.pcrs));
        assert_eq!(failures(&draft), ["tpm.quote.digest"]);
    }
    let mut draft = Draft::good();
    draft.pcrs.reverse();
    assert_eq!(failures(&draft), [""; 0]);
}

#[test]
fn values_are_hashed_by_the_digest_of_the_key() {
    let mut draft = Draft::of(Key::p384(3));
    draft.statement.attested = quoted(&VALUES, Digest::Sha256);
    assert_eq!(failures(&draft), ["tpm.quote.digest"]);
}

#[test]
fn firmware_below_the_floor_is_refused() {
    let draft = Draft::with(|it| it.statement.firmware -= 1);
    assert_eq!(failures(&draft), ["tpm.firmware"]);
}

#[test]
fn firmware_of_a_software_tpm_makes_evidence_software() {
    let draft = Draft::with(|it| it.statement.firmware = 0x2020_0312_0016_3636);
    let names = [name_of(&draft.public)];
    let appraisal = appraise_quote(
        &draft.build().evidence(),
        &policy(ExpectedKey::Named(&names)),
    );
    assert_eq!(
        appraisal.verified().unwrap().class(),
        EvidenceClass::Software
    );
}

#[test]
fn an_event_log_has_to_be_one_and_to_lead_to_the_values() {
    let uki = include_bytes!("../../../testdata/lab-ovmf-uki/eventlog.bin");
    let draft = Draft::with(|it| it.event_log = Some(uki.to_vec()));
    assert_eq!(failures(&draft), ["tpm.eventlog.replay"]);
    let draft = Draft::with(|it| it.event_log = Some(vec![1]));
    assert_eq!(failures(&draft), ["tpm.eventlog.structure"]);
    let log = EventLog::parse(uki).unwrap();
    let values: Vec<_> = [0, 4, 7].map(|index| (index, log.pcr(index))).to_vec();
    let draft = Draft::with(|it| {
        it.statement.attested = quoted(&values, Digest::Sha256);
        it.pcrs = values;
        it.event_log = Some(uki.to_vec());
    });
    assert_eq!(failures(&draft), [""; 0]);
}

#[test]
fn every_single_bit_of_key_quote_and_signature_is_refused() {
    for key in [Key::rsa(Rsa::Tpm), Key::p256(3), Key::p384(3)] {
        let draft = Draft::of(key);
        let names = [name_of(&draft.public)];
        let good = draft.build();
        for part in 0..3 {
            let length = match part {
                0 => good.public.len(),
                1 => good.quote.len(),
                _ => good.signature.len(),
            };
            for bit in 0..length * 8 {
                let mut bytes = good.clone();
                let changed = match part {
                    0 => &mut bytes.public,
                    1 => &mut bytes.quote,
                    _ => &mut bytes.signature,
                };
                changed[bit / 8] ^= 1 << (bit % 8);
                let policy = policy(ExpectedKey::Named(&names));
                let appraisal = appraise_quote(&bytes.evidence(), &policy);
                assert!(appraisal.verified().is_none(), "part {part}, bit {bit}");
            }
        }
    }
}

/// The policy under which captures were made: `challenge`, all registers.
fn captured<'a>(key: ExpectedKey<'a>) -> QuotePolicy<'a> {
    QuotePolicy {
        qualifying: Some(b"challenge".to_vec()),
        firmware_floor: None,
        pcrs: PcrSet::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]).unwrap(),
        ..policy(key)
    }
}

fn of_capture<'a>(quote: &'a CapturedQuote, key: PresentedKey<'a>) -> QuoteEvidence<'a> {
    QuoteEvidence {
        key,
        quote: &quote.message,
        signature: KeySignature::RsaRaw(&quote.signature),
        pcrs: quote.pcrs.clone(),
        event_log: None,
    }
}

fn paravisor<'a>(report: &'a [u8], td_quote: Option<&'a [u8]>) -> VerifiedParavisor<'a> {
    let hardware = match td_quote {
        Some(_) => Hardware::Tdx,
        None => Hardware::Snp,
    };
    let policy = AzurePolicy {
        tpm_persisted: Demand::Any,
        console_off: Demand::Any,
        ..AzurePolicy::strict(hardware)
    };
    let evidence = AzureEvidence { report, td_quote };
    let appraisal = appraise_paravisor(&evidence, &policy);
    appraisal.verified().unwrap().clone()
}

#[test]
fn captured_quotes_of_azure_hold_under_the_key_that_the_paravisor_vouches_for() {
    for capture in captures::azure() {
        let verified = paravisor(&capture.report, capture.td_quote.as_deref());
        let vouched = verified.attestation_key();
        let evidence = of_capture(&capture.quote, PresentedKey::Plain(vouched.key()));
        let appraisal = appraise_quote(&evidence, &captured(ExpectedKey::Vouched(vouched)));
        assert_eq!(codes(&appraisal), [""; 0], "{}", capture.name);
        let quote = appraisal.verified().unwrap();
        assert_eq!(quote.class(), EvidenceClass::ParavisorTpm);
        assert_eq!(quote.parties(), [Party::MicrosoftParavisor]);
        assert_eq!(quote.pcrs().len(), 22);
        // The key came as a modulus; the signer's name shows the rest.
        assert_eq!(
            outcome(&appraisal, QuoteCheck::KeyAttributes),
            Outcome::Pass
        );
    }
}

#[test]
fn a_captured_quote_of_another_machine_is_refused() {
    let [one, .., other] = &captures::azure()[..] else {
        panic!("there are captures")
    };
    let verified = paravisor(&one.report, None);
    let vouched = verified.attestation_key();
    let evidence = of_capture(&other.quote, PresentedKey::Plain(vouched.key()));
    let appraisal = appraise_quote(&evidence, &captured(ExpectedKey::Vouched(vouched)));
    assert_eq!(codes(&appraisal), ["tpm.quote.signature"]);
    // Its own key is none that this paravisor vouches for.
    let theirs = paravisor(&other.report, other.td_quote.as_deref());
    let key = theirs.attestation_key().key();
    let evidence = of_capture(&other.quote, PresentedKey::Plain(key));
    let appraisal = appraise_quote(&evidence, &captured(ExpectedKey::Vouched(vouched)));
    assert_eq!(codes(&appraisal), ["tpm.key.vouched"]);
    assert!(appraisal.verified().is_none());
}

#[test]
fn a_captured_quote_beside_its_key_in_der_shows_the_keys_attributes() {
    let (quote, spki) = captures::kinvolk();
    let name = PlainKey::spki(&spki)
        .unwrap()
        .identify(&quote.message[8..42])
        .unwrap()
        .name();
    let names = [name];
    let evidence = of_capture(&quote, PresentedKey::Spki(&spki));
    let appraisal = appraise_quote(&evidence, &captured(ExpectedKey::Named(&names)));
    assert_eq!(codes(&appraisal), [""; 0]);
    assert!(appraisal.verified().is_some());
    let other_nonce = QuotePolicy {
        qualifying: Some(b"challeng".to_vec()),
        ..captured(ExpectedKey::Named(&names))
    };
    let appraisal = appraise_quote(&evidence, &other_nonce);
    assert_eq!(codes(&appraisal), ["tpm.quote.qualifying"]);
}

#[test]
fn a_captured_quote_of_a_software_tpm_is_no_more_than_a_signature() {
    let (quote, spki) = captures::trustee_tpm();
    let evidence = QuoteEvidence {
        signature: KeySignature::Tpmt(&quote.signature),
        ..of_capture(&quote, PresentedKey::Spki(&spki))
    };
    let key = PlainKey::spki(&spki).unwrap();
    let vouched = VouchedKey::new(key, EvidenceClass::DiscreteTpm, vec![]);
    let appraisal = appraise_quote(
        &evidence,
        &QuotePolicy {
            qualifying: Some(quote.message[44..108].to_vec()),
            ..captured(ExpectedKey::Vouched(&vouched))
        },
    );
    assert_eq!(codes(&appraisal), [""; 0]);
    assert_eq!(outcome(&appraisal, QuoteCheck::Signature), Outcome::Pass);
    assert_eq!(outcome(&appraisal, QuoteCheck::Digest), Outcome::Pass);
    // Its key is no primary of the endorsement hierarchy with a known template.
    assert_eq!(
        outcome(&appraisal, QuoteCheck::KeyAttributes),
        Outcome::NotChecked
    );
    assert!(appraisal.verified().is_none());
}

#[test]
fn every_single_bit_of_a_captured_quote_is_refused() {
    let capture = captures::azure().remove(0);
    let verified = paravisor(&capture.report, None);
    let vouched = verified.attestation_key();
    let total = capture.quote.message.len() + capture.quote.signature.len();
    for bit in 0..total * 8 {
        let mut quote = capture.quote.clone();
        match bit / 8 {
            at if at < quote.message.len() => quote.message[at] ^= 1 << (bit % 8),
            at => quote.signature[at - capture.quote.message.len()] ^= 1 << (bit % 8),
        }
        let evidence = of_capture(&quote, PresentedKey::Plain(vouched.key()));
        let appraisal = appraise_quote(&evidence, &captured(ExpectedKey::Vouched(vouched)));
        assert!(appraisal.verified().is_none(), "bit {bit}");
    }
}

#[test]
fn foreign_quotes_get_the_verdict_that_each_states() {
    let suite: Value =
        serde_json::from_str(include_str!("../../../testdata/tpm-quote-cases.json")).unwrap();
    let hex = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let cases = suite["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 22);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let scalar = |name| countersign_devices::tpm::sized(&hex(&case[name]));
        let signature = [[0, 0x18, 0, 0xb].as_slice(), &scalar("r"), &scalar("s")].concat();
        let public = hex(&case["ak_pub"]);
        let pcrs = case["pcrs"].as_object().unwrap().iter();
        let evidence = QuoteEvidence {
            key: PresentedKey::Public(&public),
            quote: &hex(&case["message"]),
            signature: KeySignature::Tpmt(&signature),
            pcrs: pcrs
                .map(|(index, it)| (index.parse().unwrap(), hex(it).try_into().unwrap()))
                .collect(),
            event_log: None,
        };
        let names = [TpmKey::parse(&public).unwrap().name()];
        let policy = QuotePolicy {
            key: ExpectedKey::Named(&names),
            qualifying: Some(hex(&suite["nonce"])),
            pcrs: PcrSet::new([0, 4, 7, 9, 11]).unwrap(),
            selection: Selection::Exactly,
            firmware_floor: None,
        };
        let appraisal = appraise_quote(&evidence, &policy);
        // The suite makes up who signed; that check alone fails where nothing else is wrong.
        let found: Vec<_> = codes(&appraisal)
            .into_iter()
            .filter(|code| *code != "tpm.quote.signer")
            .collect();
        let about: &[&str] = match name {
            "valid" | "reset-count-advanced" | "signer-name-mismatch" => &[],
            "bad-signature" | "wrong-ak" => &["tpm.quote.signature"],
            "type-certify" | "type-time" | "trailing-bytes" | "truncated" => {
                &["tpm.quote.structure"]
            }
            "ak-not-restricted" | "ak-not-fixedtpm" | "ak-not-sensitive-data-origin" => {
                &["tpm.key.attributes"]
            }
            "nonce-mismatch" | "nonce-prefix" => &["tpm.quote.qualifying"],
            "pcr-value-changed" => &["tpm.quote.digest"],
            "selection-confusion" => &["tpm.quote.selection", "tpm.quote.digest"],
            "selection-empty" | "no-selection" | "bank-sha1" | "duplicate-bank"
            | "pcr-select-size-4" => &["tpm.quote.selection"],
            "clock-unsafe" => &["tpm.quote.clock"],
            other => panic!("unknown case {other}"),
        };
        assert_eq!(found, about, "{name}");
        assert!(appraisal.verified().is_none(), "{name}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(key: Vec<u8>, quote: Vec<u8>, signature: Vec<u8>, log: Vec<u8>) {
        for key in [PresentedKey::Public(&key), PresentedKey::Spki(&key)] {
            for signature in [KeySignature::Tpmt(&signature), KeySignature::RsaRaw(&signature)] {
                let evidence = QuoteEvidence { key, quote: &quote, signature, pcrs: vec![], event_log: Some(&log) };
                prop_assert!(appraise_quote(&evidence, &policy(ExpectedKey::Named(&[]))).verified().is_none());
            }
        }
    }

    #[test]
    fn a_cut_or_changed_key_never_panics(bytes: Vec<u8>, keep: prop::sample::Index) {
        for key in [Key::rsa(Rsa::Tpm), Key::p256(3), Key::p384(3)] {
            let public = Public::of(&key, AK_ATTRIBUTES).to_bytes();
            let cut = [&public[..keep.index(public.len())], bytes.as_slice()].concat();
            let _ = TpmKey::parse(&cut);
            let spki = key.spki();
            let cut = [&spki[..keep.index(spki.len())], bytes.as_slice()].concat();
            let _ = PlainKey::spki(&cut);
        }
    }
}
