#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count positions in fixed data"
)]

use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::*;

/// Position of a quote's selection count: after magic, type, signer, qualifying data, clock and firmware.
const SELECTION_AT: usize = 4 + 2 + 2 + 34 + 2 + 32 + 17 + 8;

const PROFILE: [u8; 5] = [4, 7, 11, 12, 13];

/// What a TPM would sign, field by field. A key in software stands for the device; the checks are the real ones.
#[derive(Clone)]
struct Draft {
    ak_attributes: u32,
    ak_hierarchy: u32,
    quote: Statement,
    certify: Statement,
    /// count · bank · sizeofSelect · select, as one.
    selection: Vec<u8>,
    pcrs: Vec<(u8, [u8; 32])>,
    pcr_digest: Option<Vec<u8>>,
    nv_index: u32,
    nv_attributes: u32,
    nv_policy: Vec<u8>,
    nv_bytes: u16,
    nv_name: Option<Vec<u8>>,
    nv_offset: u16,
    nv_contents: Vec<u8>,
    event_log: Option<Vec<u8>>,
}

#[derive(Clone)]
struct Statement {
    magic: u32,
    kind: u16,
    qualifying: Vec<u8>,
    clock_ms: u64,
    reset_count: u32,
    restart_count: u32,
    safe: u8,
    firmware: u64,
    trailing: Vec<u8>,
    signed_by: u8,
}

/// Evidence as owned bytes.
#[derive(Clone)]
struct Bytes {
    ak_public: Vec<u8>,
    quote: Vec<u8>,
    quote_signature: Vec<u8>,
    pcrs: Vec<(u8, [u8; 32])>,
    nv_public: Vec<u8>,
    certify: Vec<u8>,
    certify_signature: Vec<u8>,
    event_log: Option<Vec<u8>>,
}

fn secret(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn ecc_public(seed: u8, attributes: u32) -> Vec<u8> {
    let point = secret(seed).verifying_key().to_sec1_point(false);
    let mut public = [
        &[0x00, 0x23, 0x00, 0x0b],
        attributes.to_be_bytes().as_slice(),
        &[0, 0],
    ]
    .concat();
    // no cipher · ECDSA · SHA-256 · P-256 · no KDF
    public.extend([0x00, 0x10, 0x00, 0x18, 0x00, 0x0b, 0x00, 0x03, 0x00, 0x10]);
    public.extend(sized(&point.as_bytes()[1..33]));
    public.extend(sized(&point.as_bytes()[33..]));
    public
}

fn signature(seed: u8, message: &[u8]) -> Vec<u8> {
    let signature: Signature = secret(seed).sign_prehash(&Sha256::digest(message)).unwrap();
    let (r, s) = signature.split_bytes();
    [&[0x00, 0x18, 0x00, 0x0b], sized(&r).as_slice(), &sized(&s)].concat()
}

fn release_key() -> ReleaseKey {
    ReleaseKey::parse(&ecc_public(5, RELEASE_KEY_ATTRIBUTES)).unwrap()
}

impl Statement {
    fn new(kind: u16, clock_ms: u64) -> Self {
        Self {
            magic: 0xff54_4347,
            kind,
            qualifying: vec![0xa5; 32],
            clock_ms,
            reset_count: 3,
            restart_count: 1,
            safe: 1,
            firmware: 0x0007_0055_0011_4800,
            trailing: vec![],
            signed_by: 1,
        }
    }

    fn to_bytes(&self, signer: &[u8], attested: &[u8]) -> Vec<u8> {
        [
            self.magic.to_be_bytes().as_slice(),
            &self.kind.to_be_bytes(),
            &sized(signer),
            &sized(&self.qualifying),
            &self.clock_ms.to_be_bytes(),
            &self.reset_count.to_be_bytes(),
            &self.restart_count.to_be_bytes(),
            &[self.safe],
            &self.firmware.to_be_bytes(),
            attested,
            &self.trailing,
        ]
        .concat()
    }
}

impl Draft {
    fn good() -> Self {
        Self {
            ak_attributes: 0x0005_0472,
            ak_hierarchy: 0x4000_000b,
            certify: Statement::new(0x8014, 1000),
            quote: Statement::new(0x8018, 1004),
            // 4, 7 · 11, 12, 13 · none
            selection: vec![0, 0, 0, 1, 0, 0x0b, 3, 0x90, 0x38, 0x00],
            pcrs: PROFILE.map(|index| (index, [index; 32])).to_vec(),
            pcr_digest: None,
            nv_index: COUNTER_INDEX,
            nv_attributes: COUNTER_ATTRIBUTES,
            nv_policy: policy_authorize_digest(&release_key()).0.to_vec(),
            nv_bytes: 8,
            nv_name: None,
            nv_offset: 0,
            nv_contents: 42_u64.to_be_bytes().to_vec(),
            event_log: None,
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut draft = Self::good();
        change(&mut draft);
        draft
    }

    fn build(&self) -> Bytes {
        let ak_public = ecc_public(1, self.ak_attributes);
        let signer = TpmName::of(&ak_public).qualified_by(self.ak_hierarchy).0;
        let mut composite = Sha256::new();
        self.pcrs
            .iter()
            .for_each(|(_, value)| composite.update(value));
        let pcr_digest = self
            .pcr_digest
            .clone()
            .unwrap_or_else(|| composite.finalize().to_vec());
        let quote = self.quote.to_bytes(
            &signer,
            &[self.selection.as_slice(), &sized(&pcr_digest)].concat(),
        );
        let nv_public = [
            self.nv_index.to_be_bytes().as_slice(),
            &[0x00, 0x0b],
            &self.nv_attributes.to_be_bytes(),
            &sized(&self.nv_policy),
            &self.nv_bytes.to_be_bytes(),
        ]
        .concat();
        let name = self
            .nv_name
            .clone()
            .unwrap_or_else(|| TpmName::of(&nv_public).0.to_vec());
        let nv = [
            sized(&name).as_slice(),
            &self.nv_offset.to_be_bytes(),
            &sized(&self.nv_contents),
        ]
        .concat();
        let certify = self.certify.to_bytes(&signer, &nv);
        Bytes {
            quote_signature: signature(self.quote.signed_by, &quote),
            certify_signature: signature(self.certify.signed_by, &certify),
            pcrs: self.pcrs.clone(),
            event_log: self.event_log.clone(),
            ak_public,
            quote,
            nv_public,
            certify,
        }
    }
}

impl Bytes {
    fn appraise(&self, expected: &Expected) -> TpmAppraisal {
        let evidence = TpmEvidence {
            ak_public: &self.ak_public,
            quote: &self.quote,
            quote_signature: &self.quote_signature,
            pcrs: self.pcrs.clone(),
            nv_public: &self.nv_public,
            certify: &self.certify,
            certify_signature: &self.certify_signature,
            event_log: self.event_log.as_deref(),
        };
        appraise_tpm(&evidence, expected)
    }
}

fn expected() -> Expected {
    Expected {
        profile: TpmProfile::Tpm,
        qualifying: Qualifying([0xa5; 32]),
        attestation_key: TpmName::of(&ecc_public(1, 0x0005_0472)),
        pcrs: PcrSet::new(PROFILE).unwrap(),
        counter_policy: policy_authorize_digest(&release_key()),
        firmware_floor: Some(FirmwareVersion(0x0007_0055_0000_0000)),
    }
}

fn codes(appraisal: &TpmAppraisal) -> Vec<&'static str> {
    appraisal
        .failures()
        .map(|check| check.code.as_str())
        .collect()
}

/// The checks that fail for a draft, with a key whose name the binding knows.
fn failures(draft: &Draft) -> Vec<&'static str> {
    let bytes = draft.build();
    let expected = Expected {
        attestation_key: TpmName::of(&bytes.ak_public),
        ..expected()
    };
    let appraisal = bytes.appraise(&expected);
    assert_eq!(
        appraisal.verified().is_some(),
        appraisal.failures().next().is_none()
    );
    codes(&appraisal)
}

#[test]
fn good_evidence_says_counter_session_clock_and_pcrs() {
    let appraisal = Draft::good().build().appraise(&expected());
    assert_eq!(codes(&appraisal), [""; 0]);
    let verified = appraisal.verified().unwrap();
    assert_eq!(verified.counter(), 42);
    assert_eq!(
        verified.session(),
        TpmSession {
            reset_count: 3,
            restart_count: 1
        }
    );
    assert_eq!(
        (verified.certified_at_ms(), verified.quoted_at_ms()),
        (1000, 1004)
    );
    assert_eq!(
        verified.firmware_version(),
        FirmwareVersion(0x0007_0055_0011_4800)
    );
    assert_eq!(verified.pcrs().get(&11), Some(&[11; 32]));
    assert_eq!(verified.attestation_key(), expected().attestation_key);
    assert_eq!(appraisal.class(), EvidenceClass::UnendorsedTpm);
}

#[test]
fn every_check_is_listed_once_and_in_order() {
    let listed = |bytes: &Bytes| {
        bytes
            .appraise(&expected())
            .checks()
            .iter()
            .map(|check| check.code)
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&Draft::good().build()), TpmCheck::ALL);
    let nothing = Bytes {
        ak_public: vec![],
        quote: vec![],
        quote_signature: vec![],
        pcrs: vec![],
        nv_public: vec![],
        certify: vec![],
        certify_signature: vec![],
        event_log: Some(vec![]),
    };
    assert_eq!(listed(&nothing), TpmCheck::ALL);
}

#[test]
fn what_cannot_run_is_not_checked_and_says_why() {
    let mut bytes = Draft::good().build();
    bytes.quote.clear();
    let appraisal = bytes.appraise(&expected());
    assert_eq!(
        codes(&appraisal),
        ["tpm.quote.structure", "tpm.quote.signature"]
    );
    let digest = appraisal
        .checks()
        .iter()
        .find(|check| check.code == TpmCheck::QuoteDigest)
        .unwrap();
    assert_eq!(
        (digest.outcome, digest.reason.as_str()),
        (Outcome::NotChecked, "the statement is malformed")
    );
    assert_eq!(appraisal.verified(), None);
}

#[test]
fn evidence_holds_without_a_voucher_a_floor_and_a_log_and_without_nothing_else() {
    let expected = Expected {
        firmware_floor: None,
        ..expected()
    };
    let appraisal = Draft::good().build().appraise(&expected);
    assert!(appraisal.verified().is_some());
    let skipped = appraisal
        .checks()
        .iter()
        .filter(|check| check.outcome == Outcome::NotChecked)
        .map(|check| check.code);
    let optional = TpmCheck::ALL.iter().filter(|code| code.is_optional());
    assert_eq!(
        skipped.collect::<Vec<_>>(),
        optional.copied().collect::<Vec<_>>()
    );
}

#[test]
fn a_software_profile_is_software_however_good() {
    let expected = Expected {
        profile: TpmProfile::Swtpm,
        ..expected()
    };
    let appraisal = Draft::good().build().appraise(&expected);
    assert!(appraisal.verified().is_some());
    assert_eq!(appraisal.class(), EvidenceClass::Software);
}

#[test]
fn a_hardware_profile_with_the_firmware_of_a_software_tpm_is_software() {
    let draft = Draft::with(|draft| {
        draft.quote.firmware = 0x2019_1023_0016_3636;
        draft.certify.firmware = 0x2019_1023_0016_3636;
    });
    assert_eq!(
        draft.build().appraise(&expected()).class(),
        EvidenceClass::Software
    );
}

/// A key of the platform vouches for a key of this name.
fn vouched(name: &[u8]) -> VouchedKey {
    let key = PlainKey::rsa(
        &countersign_devices::key::Key::rsa(countersign_devices::key::Rsa::Tpm).modulus(),
        65537,
    )
    .unwrap();
    let parties = vec![Party::MicrosoftParavisor];
    let platform = VouchedKey::new(key, EvidenceClass::ParavisorTpm, parties);
    platform.passes_on_to(&TpmKey::parse(name).unwrap())
}

fn under(bytes: &Bytes, key: &VouchedKey) -> TpmAppraisal {
    let evidence = TpmEvidence {
        ak_public: &bytes.ak_public,
        quote: &bytes.quote,
        quote_signature: &bytes.quote_signature,
        pcrs: bytes.pcrs.clone(),
        nv_public: &bytes.nv_public,
        certify: &bytes.certify,
        certify_signature: &bytes.certify_signature,
        event_log: None,
    };
    appraise_vouched_tpm(&evidence, &expected(), key)
}

#[test]
fn evidence_under_a_key_that_the_platform_vouches_for_has_the_platforms_class_and_parties() {
    let bytes = Draft::good().build();
    let appraisal = under(&bytes, &vouched(&bytes.ak_public));
    assert_eq!(codes(&appraisal), [""; 0]);
    assert!(appraisal.verified().is_some());
    assert_eq!(appraisal.class(), EvidenceClass::ParavisorTpm);
    assert_eq!(appraisal.parties(), [Party::MicrosoftParavisor]);
}

#[test]
fn a_key_that_the_platform_does_not_vouch_for_is_refused() {
    let bytes = Draft::good().build();
    // Another key; and a voucher that names a modulus alone.
    let other = vouched(&ecc_public(9, 0x0005_0472));
    let plain = VouchedKey::new(other.key().clone(), EvidenceClass::ParavisorTpm, vec![]);
    for key in [other, plain] {
        let appraisal = under(&bytes, &key);
        assert_eq!(codes(&appraisal), ["tpm.ak.vouched"]);
        assert!(appraisal.verified().is_none());
        assert_eq!(appraisal.class(), EvidenceClass::UnendorsedTpm);
        assert_eq!(appraisal.parties(), []);
    }
}

#[test]
fn short_coordinates_and_scalars_are_padded() {
    // The reader pads what a TPM sent without leading zeros: the same signature, written shorter.
    let draft = (0..2000_u64)
        .map(|clock_ms| Draft::with(|draft| draft.quote.clock_ms = 1004 + clock_ms))
        .find(|draft| draft.build().quote_signature[6] == 0)
        .unwrap();
    let mut bytes = draft.build();
    bytes.quote_signature.remove(6);
    bytes.quote_signature[5] = 31;
    assert_eq!(codes(&bytes.appraise(&expected())), [""; 0]);
}

#[test]
fn a_public_area_with_a_trailing_byte_is_refused() {
    let mut bytes = Draft::good().build();
    bytes.ak_public.push(0);
    assert_eq!(codes(&bytes.appraise(&expected()))[0], "tpm.ak.public");
}

#[test]
fn a_point_off_the_curve_is_refused() {
    let mut bytes = Draft::good().build();
    *bytes.ak_public.last_mut().unwrap() ^= 1;
    assert_eq!(codes(&bytes.appraise(&expected()))[0], "tpm.ak.public");
}

#[test]
fn each_wrong_attribute_of_the_key_is_refused() {
    // Bits of 0x00050472, then decrypt, x509sign, encryptedDuplication, stClear, adminWithPolicy.
    let missing = [1_u32, 4, 5, 16, 18];
    let present = [17_u32, 19, 11, 2, 7];
    for bit in missing.into_iter().chain(present) {
        let draft = Draft::with(|draft| draft.ak_attributes ^= 1 << bit);
        assert_eq!(failures(&draft), ["tpm.ak.attributes"], "bit {bit}");
    }
}

#[test]
fn another_key_than_the_binding_names_is_refused() {
    let expected = Expected {
        attestation_key: TpmName([0; 34]),
        ..expected()
    };
    assert_eq!(
        codes(&Draft::good().build().appraise(&expected)),
        ["tpm.ak.name"]
    );
}

#[test]
fn a_statement_that_software_could_have_made_up_is_refused() {
    let draft = Draft::with(|draft| draft.quote.magic = 0xff54_4348);
    assert_eq!(failures(&draft), ["tpm.quote.structure"]);
}

#[test]
fn a_quote_of_another_type_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.kind = 0x8017)),
        ["tpm.quote.structure"]
    );
}

#[test]
fn a_quote_with_a_trailing_byte_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.trailing = vec![0])),
        ["tpm.quote.structure"]
    );
}

#[test]
fn a_quote_whose_safe_is_neither_yes_nor_no_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.safe = 2)),
        ["tpm.quote.structure"]
    );
}

#[test]
fn a_quote_by_another_key_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.signed_by = 2)),
        ["tpm.quote.signature"]
    );
}

#[test]
fn a_signature_with_a_scalar_out_of_range_is_refused_by_that_reason() {
    for scalar in [[0; 32], [0xff; 32]] {
        let mut bytes = Draft::good().build();
        bytes.quote_signature[6..38].copy_from_slice(&scalar);
        let appraisal = bytes.appraise(&expected());
        assert_eq!(codes(&appraisal), ["tpm.quote.signature"]);
        assert_eq!(
            appraisal.failures().next().unwrap().reason,
            "signature has an r or s out of range"
        );
    }
}

#[test]
fn a_signature_with_a_trailing_byte_is_refused() {
    let mut bytes = Draft::good().build();
    bytes.certify_signature.push(0);
    assert_eq!(
        codes(&bytes.appraise(&expected())),
        ["tpm.counter.signature"]
    );
}

#[test]
fn a_signature_that_names_another_hash_is_refused() {
    let mut bytes = Draft::good().build();
    bytes.certify_signature[3] = 0x0c;
    assert_eq!(
        codes(&bytes.appraise(&expected())),
        ["tpm.counter.signature"]
    );
}

#[test]
fn a_key_of_the_owner_hierarchy_is_refused() {
    let draft = Draft::with(|draft| draft.ak_hierarchy = 0x4000_0001);
    assert_eq!(failures(&draft), ["tpm.counter.signer", "tpm.quote.signer"]);
}

#[test]
fn a_quote_over_other_qualifying_data_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.qualifying[31] ^= 1)),
        ["tpm.quote.qualifying"]
    );
}

#[test]
fn qualifying_data_is_compared_whole() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.qualifying.truncate(31))),
        ["tpm.quote.qualifying"]
    );
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.qualifying.push(0))),
        ["tpm.quote.qualifying"]
    );
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.qualifying.clear())),
        ["tpm.quote.qualifying"]
    );
}

#[test]
fn a_certification_over_other_qualifying_data_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.certify.qualifying[0] ^= 1)),
        ["tpm.counter.qualifying"]
    );
}

#[test]
fn a_clock_that_the_tpm_does_not_vouch_for_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.safe = 0)),
        ["tpm.quote.clock"]
    );
    assert_eq!(
        failures(&Draft::with(|draft| draft.certify.safe = 0)),
        ["tpm.counter.clock"]
    );
}

#[test]
fn a_selection_of_other_pcrs_is_refused() {
    // 4, 7, 9 instead of 4, 7, 11, 12, 13; all values presented for the selection.
    let draft = Draft::with(|draft| {
        draft.selection[7..10].copy_from_slice(&[0x90, 0x02, 0x00]);
        draft.pcrs = [4, 7, 9].map(|index| (index, [index; 32])).to_vec();
    });
    assert_eq!(failures(&draft), ["tpm.quote.selection"]);
}

#[test]
fn a_selection_of_more_pcrs_than_expected_is_refused() {
    let draft = Draft::with(|draft| {
        draft.selection[7] |= 1;
        draft.pcrs.insert(0, (0, [0; 32]));
    });
    assert_eq!(failures(&draft), ["tpm.quote.selection"]);
}

#[test]
fn a_selection_with_a_pcr_that_software_resets_is_refused() {
    let draft = Draft::with(|draft| draft.selection[9] = 1);
    assert_eq!(failures(&draft), ["tpm.quote.selection"]);
}

#[test]
fn a_selection_of_another_bank_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.selection[5] = 0x04)),
        ["tpm.quote.selection"]
    );
}

#[test]
fn two_banks_are_refused() {
    let draft = Draft::with(|draft| {
        draft.selection[3] = 2;
        draft.selection.extend([0, 0x0b, 3, 0x90, 0x38, 0]);
    });
    assert_eq!(failures(&draft), ["tpm.quote.selection"]);
}

#[test]
fn a_selection_of_four_bytes_is_refused() {
    let draft = Draft::with(|draft| {
        draft.selection[6] = 4;
        draft.selection.push(0);
    });
    assert_eq!(failures(&draft), ["tpm.quote.selection"]);
}

#[test]
fn an_empty_selection_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.selection[7..].fill(0))),
        ["tpm.quote.selection"]
    );
}

#[test]
fn seventeen_banks_are_refused_before_they_are_read() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.selection[3] = 17)),
        ["tpm.quote.structure"]
    );
}

#[test]
fn a_changed_value_is_refused() {
    let mut bytes = Draft::good().build();
    bytes.pcrs[2].1[0] ^= 1;
    assert_eq!(codes(&bytes.appraise(&expected())), ["tpm.quote.digest"]);
}

#[test]
fn exchanged_values_are_refused() {
    let mut bytes = Draft::good().build();
    (bytes.pcrs[0].0, bytes.pcrs[1].0) = (7, 4);
    assert_eq!(codes(&bytes.appraise(&expected())), ["tpm.quote.digest"]);
}

#[test]
fn a_value_presented_twice_is_refused() {
    let mut bytes = Draft::good().build();
    let again = bytes.pcrs[0];
    bytes.pcrs.push(again);
    assert_eq!(codes(&bytes.appraise(&expected())), ["tpm.quote.digest"]);
}

#[test]
fn a_value_that_is_not_quoted_is_refused() {
    let mut bytes = Draft::good().build();
    bytes.pcrs.push((8, [8; 32]));
    assert_eq!(codes(&bytes.appraise(&expected())), ["tpm.quote.digest"]);
}

#[test]
fn values_in_another_order_are_the_same_values() {
    let mut bytes = Draft::good().build();
    bytes.pcrs.reverse();
    assert_eq!(codes(&bytes.appraise(&expected())), [""; 0]);
}

#[test]
fn another_nv_index_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.nv_index = 0x0150_0021)),
        ["tpm.counter.public"]
    );
}

#[test]
fn each_other_attribute_of_the_counter_is_refused() {
    for bit in 0..32 {
        let draft = Draft::with(|draft| draft.nv_attributes ^= 1 << bit);
        assert_eq!(failures(&draft), ["tpm.counter.public"], "bit {bit}");
    }
}

#[test]
fn a_counter_under_another_policy_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.nv_policy[0] ^= 1)),
        ["tpm.counter.public"]
    );
    assert_eq!(
        failures(&Draft::with(|draft| draft.nv_policy.clear())),
        ["tpm.counter.public"]
    );
}

#[test]
fn a_counter_of_another_size_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.nv_bytes = 16)),
        ["tpm.counter.public"]
    );
}

#[test]
fn a_public_area_of_the_counter_with_a_trailing_byte_is_refused() {
    let mut bytes = Draft::good().build();
    bytes.nv_public.push(0);
    assert_eq!(
        codes(&bytes.appraise(&expected())),
        ["tpm.counter.public", "tpm.counter.name"]
    );
}

#[test]
fn a_certification_of_another_index_is_refused() {
    // Another index of the same TPM, with owner rights, presented under the counter's public area.
    let draft =
        Draft::with(|draft| draft.nv_name = Some(TpmName::of(b"another public area").0.to_vec()));
    assert_eq!(failures(&draft), ["tpm.counter.name"]);
}

#[test]
fn a_certification_of_an_index_that_was_never_written_is_refused() {
    let draft = Draft::with(|draft| draft.nv_attributes = COUNTER_ATTRIBUTES & !0x2000_0000);
    assert_eq!(failures(&draft), ["tpm.counter.public"]);
}

#[test]
fn a_part_of_the_counter_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.nv_contents.truncate(4))),
        ["tpm.counter.value"]
    );
    assert_eq!(
        failures(&Draft::with(|draft| draft.nv_offset = 1)),
        ["tpm.counter.value"]
    );
}

#[test]
fn a_quote_presented_as_certification_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.certify.kind = 0x8018)),
        ["tpm.counter.structure"]
    );
}

#[test]
fn a_certification_by_another_key_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.certify.signed_by = 2)),
        ["tpm.counter.signature"]
    );
}

#[test]
fn statements_of_two_runs_are_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.reset_count += 1)),
        ["tpm.pair.session"]
    );
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.restart_count += 1)),
        ["tpm.pair.session"]
    );
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.firmware += 1)),
        ["tpm.pair.session"]
    );
}

#[test]
fn a_quote_older_than_the_certification_is_refused() {
    assert_eq!(
        failures(&Draft::with(|draft| draft.quote.clock_ms = 999)),
        ["tpm.pair.clock"]
    );
}

#[test]
fn firmware_below_the_floor_is_refused() {
    let draft = Draft::with(|draft| {
        draft.quote.firmware = 0x0007_0054_ffff_ffff;
        draft.certify.firmware = 0x0007_0054_ffff_ffff;
    });
    assert_eq!(failures(&draft), ["tpm.firmware"]);
}

#[test]
fn without_a_floor_the_firmware_is_not_checked_and_the_evidence_can_hold() {
    let expected = Expected {
        firmware_floor: None,
        ..expected()
    };
    let appraisal = Draft::good().build().appraise(&expected);
    let firmware = appraisal
        .checks()
        .iter()
        .find(|check| check.code == TpmCheck::Firmware)
        .unwrap();
    assert_eq!(firmware.outcome, Outcome::NotChecked);
    assert!(appraisal.verified().is_some());
}

#[test]
fn an_event_log_that_leads_elsewhere_is_refused() {
    let log = include_bytes!("../../testdata/lab-ovmf-uki/eventlog.bin").to_vec();
    assert_eq!(
        failures(&Draft::with(|draft| draft.event_log = Some(log))),
        ["tpm.eventlog.replay"]
    );
}

#[test]
fn an_event_log_that_leads_to_the_quoted_values_is_accepted() {
    let bytes = include_bytes!("../../testdata/lab-ovmf-uki/eventlog.bin").to_vec();
    let log = crate::eventlog::EventLog::parse(&bytes).unwrap();
    let pcrs = PROFILE.map(|index| (index, log.pcr(index))).to_vec();
    let draft = Draft::with(|draft| (draft.pcrs, draft.event_log) = (pcrs, Some(bytes.clone())));
    assert_eq!(failures(&draft), [""; 0]);
}

#[test]
fn a_malformed_event_log_is_refused() {
    let draft = Draft::with(|draft| draft.event_log = Some(vec![1; 100]));
    assert_eq!(failures(&draft), ["tpm.eventlog.structure"]);
}

#[test]
fn a_release_key_with_other_attributes_is_refused() {
    let found = 0x0005_0472;
    assert_eq!(
        ReleaseKey::parse(&ecc_public(5, found)),
        Err(ReleaseKeyError::Attributes { found })
    );
}

#[test]
fn the_policy_names_the_release_key() {
    let other = ReleaseKey::parse(&ecc_public(6, RELEASE_KEY_ATTRIBUTES)).unwrap();
    assert_ne!(
        policy_authorize_digest(&release_key()),
        policy_authorize_digest(&other)
    );
}

#[test]
fn a_set_with_a_resettable_doubled_or_missing_pcr_is_refused() {
    assert_eq!(
        PcrSet::new([4, 23]),
        Err(PcrSetError::Resettable { index: 23 })
    );
    assert_eq!(PcrSet::new([4, 4]), Err(PcrSetError::Twice { index: 4 }));
    assert_eq!(PcrSet::new([24]), Err(PcrSetError::NoSuchPcr { index: 24 }));
    assert_eq!(
        PcrSet::new([255]),
        Err(PcrSetError::NoSuchPcr { index: 255 })
    );
    assert_eq!(PcrSet::new([]), Err(PcrSetError::Empty));
}

/// A quote of a real TPM, with its key, in the place of ours.
fn lab_quote(quote: &str) -> (Bytes, Expected) {
    let quote: Value = serde_json::from_str(quote).unwrap();
    let field = |name: &str| hex::decode(quote[name].as_str().unwrap()).unwrap();
    let mut ak_public = ecc_public(1, 0x0005_0472);
    let unique = [sized(&field("ak_x")), sized(&field("ak_y"))].concat();
    let at = ak_public.len() - unique.len();
    ak_public[at..].copy_from_slice(&unique);
    let quote_signature = [
        [0x00, 0x18, 0x00, 0x0b].as_slice(),
        &sized(&field("r")),
        &sized(&field("s")),
    ]
    .concat();
    let message = field("msg");
    let qualifying = message[44..76].try_into().unwrap();
    let expected = Expected {
        qualifying: Qualifying(qualifying),
        attestation_key: TpmName::of(&ak_public),
        pcrs: PcrSet::from_selection(
            message[SELECTION_AT + 7..SELECTION_AT + 10]
                .try_into()
                .unwrap(),
        )
        .unwrap(),
        ..expected()
    };
    let bytes = Bytes {
        ak_public,
        quote: message,
        quote_signature,
        ..Draft::good().build()
    };
    (bytes, expected)
}

#[test]
fn every_check_on_the_quote_of_a_measured_boot_passes() {
    let boots: [(&str, &[u8]); 3] = [
        (
            include_str!("../../testdata/lab-ovmf-uki/quote.json"),
            include_bytes!("../../testdata/lab-ovmf-uki/eventlog.bin"),
        ),
        (
            include_str!("../../testdata/lab-ovmf-direct/quote.json"),
            include_bytes!("../../testdata/lab-ovmf-direct/eventlog.bin"),
        ),
        (
            include_str!("../../testdata/lab-ovmf-uki-tampered-initrd/quote.json"),
            include_bytes!("../../testdata/lab-ovmf-uki-tampered-initrd/eventlog.bin"),
        ),
    ];
    for (quote, log) in boots {
        let (mut bytes, expected) = lab_quote(quote);
        let replayed = crate::eventlog::EventLog::parse(log).unwrap();
        bytes.pcrs = expected
            .pcrs
            .iter()
            .map(|index| (index, replayed.pcr(index)))
            .collect();
        bytes.event_log = Some(log.to_vec());
        let appraisal = bytes.appraise(&expected);
        let of_the_quote = |check: &&Check<TpmCheck>| {
            ["tpm.ak.", "tpm.quote.", "tpm.eventlog."]
                .iter()
                .any(|part| check.code.as_str().starts_with(part))
        };
        let passed = appraisal
            .checks()
            .iter()
            .filter(of_the_quote)
            .filter(|check| check.outcome == Outcome::Pass);
        assert_eq!(passed.count(), 12, "{:?}", codes(&appraisal));
        // The counter beside it is that of another TPM.
        assert_eq!(appraisal.verified(), None);
        assert_eq!(appraisal.class(), EvidenceClass::Software);
    }
}

#[test]
fn evidence_of_a_software_tpm_made_by_foreign_tools_holds_as_software() {
    let made: Value =
        serde_json::from_str(include_str!("../../testdata/swtpm/evidence.json")).unwrap();
    let field = |name: &str| hex::decode(made[name].as_str().unwrap()).unwrap();
    let values = made["pcrs"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(index, value)| {
            (
                index.parse().unwrap(),
                hex::decode(value.as_str().unwrap())
                    .unwrap()
                    .try_into()
                    .unwrap(),
            )
        });
    let bytes = Bytes {
        ak_public: field("ak_public"),
        quote: field("quote"),
        quote_signature: field("quote_signature"),
        pcrs: values.collect(),
        nv_public: field("nv_public"),
        certify: field("certify"),
        certify_signature: field("certify_signature"),
        event_log: None,
    };
    let release_key = ReleaseKey::parse(&field("release_public")).unwrap();
    let expected = Expected {
        profile: TpmProfile::Swtpm,
        qualifying: Qualifying(field("qualifying").try_into().unwrap()),
        attestation_key: TpmName::of(&bytes.ak_public),
        counter_policy: policy_authorize_digest(&release_key),
        firmware_floor: None,
        ..expected()
    };
    let appraisal = bytes.appraise(&expected);
    assert_eq!(codes(&appraisal), [""; 0]);
    assert_eq!(
        appraisal.verified().map(VerifiedTpm::counter),
        made["counter"].as_u64()
    );
    assert_eq!(appraisal.class(), EvidenceClass::Software);
    let as_hardware = Expected {
        profile: TpmProfile::Tpm,
        ..expected
    };
    assert_eq!(
        bytes.appraise(&as_hardware).class(),
        EvidenceClass::Software
    );
}

#[test]
fn foreign_quotes_are_refused_by_the_check_that_each_is_about() {
    let suite: Value =
        serde_json::from_str(include_str!("../../testdata/tpm-quote-cases.json")).unwrap();
    let qualifying = hex::decode(suite["nonce"].as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    let required = suite["required_pcrs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|index| u8::try_from(index.as_u64().unwrap()).unwrap());
    let pcrs = PcrSet::new(required).unwrap();
    let cases = suite["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 22);
    for case in cases {
        let field = |name: &str| hex::decode(case[name].as_str().unwrap()).unwrap();
        let values = case["pcrs"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(index, value)| {
                (
                    index.parse().unwrap(),
                    hex::decode(value.as_str().unwrap())
                        .unwrap()
                        .try_into()
                        .unwrap(),
                )
            });
        let (r, s) = (sized(&field("r")), sized(&field("s")));
        let bytes = Bytes {
            ak_public: field("ak_pub"),
            quote: field("message"),
            quote_signature: [[0x00, 0x18, 0x00, 0x0b].as_slice(), &r, &s].concat(),
            pcrs: values.collect(),
            ..Draft::good().build()
        };
        let expected = Expected {
            qualifying: Qualifying(qualifying),
            attestation_key: TpmName::of(&field("ak_pub")),
            pcrs,
            firmware_floor: None,
            ..expected()
        };
        let appraisal = bytes.appraise(&expected);
        let name = case["name"].as_str().unwrap();
        let about: &[&str] = match name {
            "valid" | "reset-count-advanced" | "signer-name-mismatch" => &[],
            "bad-signature" | "wrong-ak" => &["tpm.quote.signature"],
            "type-certify" | "type-time" | "trailing-bytes" | "truncated" => {
                &["tpm.quote.structure"]
            }
            "ak-not-restricted" | "ak-not-fixedtpm" | "ak-not-sensitive-data-origin" => {
                &["tpm.ak.attributes"]
            }
            "nonce-mismatch" | "nonce-prefix" => &["tpm.quote.qualifying"],
            "pcr-value-changed" => &["tpm.quote.digest"],
            "selection-confusion"
            | "selection-empty"
            | "no-selection"
            | "bank-sha1"
            | "duplicate-bank"
            | "pcr-select-size-4" => &["tpm.quote.selection"],
            "clock-unsafe" => &["tpm.quote.clock"],
            other => panic!("unknown case {other}"),
        };
        let of_the_quote = |code: &&str| {
            ["tpm.ak.", "tpm.quote."]
                .iter()
                .any(|part| code.starts_with(part))
                && *code != "tpm.quote.signer"
        };
        let found: Vec<&str> = codes(&appraisal).into_iter().filter(of_the_quote).collect();
        assert_eq!(found, about, "{name}");
        assert_eq!(appraisal.verified(), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_changed_byte_of_evidence_is_refused(which in 0_usize..6, position: prop::sample::Index, flip in 1_u8..) {
        let mut bytes = Draft::good().build();
        let part = match which {
            0 => &mut bytes.ak_public,
            1 => &mut bytes.quote,
            2 => &mut bytes.quote_signature,
            3 => &mut bytes.nv_public,
            4 => &mut bytes.certify,
            _ => &mut bytes.certify_signature,
        };
        let position = position.index(part.len());
        part[position] ^= flip;
        let appraisal = bytes.appraise(&expected());
        prop_assert!(appraisal.verified().is_none());
        prop_assert!(appraisal.failures().next().is_some());
    }

    #[test]
    fn cut_lengthened_or_random_evidence_never_panics_and_never_holds(
        which in 0_usize..6, keep: prop::sample::Index, tail in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut bytes = Draft::good().build();
        let part = match which {
            0 => &mut bytes.ak_public,
            1 => &mut bytes.quote,
            2 => &mut bytes.quote_signature,
            3 => &mut bytes.nv_public,
            4 => &mut bytes.certify,
            _ => &mut bytes.certify_signature,
        };
        let before = part.clone();
        part.truncate(keep.index(before.len()));
        part.extend(tail);
        let same = *part == before;
        prop_assert_eq!(bytes.appraise(&expected()).verified().is_some(), same);
    }
}
