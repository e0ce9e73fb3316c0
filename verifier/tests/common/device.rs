//! A TPM in test code: keys in software stand for the device; the checks are the real ones.

use countersign_evidence::tpm::{
    COUNTER_ATTRIBUTES, COUNTER_INDEX, RELEASE_KEY_ATTRIBUTES, ReleaseKey, TpmName,
    policy_authorize_digest,
};
use countersign_record::binding::Profile;
use countersign_record::cbor::Bytes;
use countersign_record::digest::Qualifying;
use countersign_record::evidence::{PcrValue, TpmEvidence};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest as _, Sha256};

/// The registers of the hardware profile.
pub const PCRS: [u8; 5] = [4, 7, 11, 12, 13];

/// A TPM with one attestation key and one counter.
#[derive(Clone)]
pub struct Device {
    /// What the gateway says it has.
    pub profile: Profile,
    /// Which attestation key.
    pub ak_seed: u8,
    /// The counter.
    pub counter: u64,
    /// Resets.
    pub reset_count: u32,
    /// Milliseconds.
    pub clock: u64,
}

impl Device {
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            ak_seed: 1,
            counter: 40,
            reset_count: 3,
            clock: 1000,
        }
    }

    pub fn ak_name(&self) -> Vec<u8> {
        TpmName::of(&ecc_public(self.ak_seed, 0x0005_0072))
            .0
            .to_vec()
    }

    pub fn pcr_values() -> Vec<PcrValue> {
        PCRS.iter()
            .map(|index| PcrValue {
                index: *index,
                value: [*index; 32],
            })
            .collect()
    }

    /// Certifies the counter and quotes the registers.
    pub fn attest(&mut self, qualifying: Qualifying) -> TpmEvidence {
        self.clock += 10;
        let ak_public = ecc_public(self.ak_seed, 0x0005_0072);
        let policy = policy_authorize_digest(&ReleaseKey::parse(&release_public()).unwrap());
        let nv_public = [
            COUNTER_INDEX.to_be_bytes().as_slice(),
            &[0x00, 0x0b],
            &COUNTER_ATTRIBUTES.to_be_bytes(),
            &sized(&policy.0),
            &8u16.to_be_bytes(),
        ]
        .concat();
        // index name · offset 0 · contents
        let certified = [
            sized(&TpmName::of(&nv_public).0).as_slice(),
            &[0, 0],
            &sized(&self.counter.to_be_bytes()),
        ]
        .concat();
        let certify = self.statement(0x8014, qualifying, &certified);
        let mut select = [0u8; 3];
        PCRS.iter()
            .for_each(|p| select[usize::from(p / 8)] |= 1 << (p % 8));
        let digest = Sha256::digest(
            Self::pcr_values()
                .iter()
                .flat_map(|p| p.value)
                .collect::<Vec<_>>(),
        );
        // one selection · SHA-256 · 3 bytes · digest
        let quoted = [
            &[0, 0, 0, 1, 0x00, 0x0b, 3],
            select.as_slice(),
            &sized(&digest),
        ]
        .concat();
        let quote = self.statement(0x8018, qualifying, &quoted);
        TpmEvidence {
            profile: self.profile,
            quote_signature: Bytes(self.sign(&quote)),
            certify_signature: Bytes(self.sign(&certify)),
            ak_public: Bytes(ak_public),
            quote: Bytes(quote),
            pcrs: Self::pcr_values(),
            nv_public: Bytes(nv_public),
            certify: Bytes(certify),
            event_log: None,
        }
    }

    /// `TPMS_ATTEST`.
    fn statement(&self, kind: u16, qualifying: Qualifying, attested: &[u8]) -> Vec<u8> {
        // The qualified name of a primary key: its name under the handle of the endorsement hierarchy.
        let qualified =
            Sha256::digest([0x4000_000bu32.to_be_bytes().as_slice(), &self.ak_name()].concat());
        [
            0xff54_4347u32.to_be_bytes().as_slice(),
            &kind.to_be_bytes(),
            &sized(&[&[0x00, 0x0b], qualified.as_slice()].concat()),
            &sized(&qualifying.0),
            &self.clock.to_be_bytes(),
            &self.reset_count.to_be_bytes(),
            &0u32.to_be_bytes(),
            &[1],
            &0x0007_0055_0011_4800u64.to_be_bytes(),
            attested,
        ]
        .concat()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = secret(self.ak_seed)
            .sign_prehash(&Sha256::digest(message))
            .unwrap();
        let (r, s) = signature.split_bytes();
        [&[0x00, 0x18, 0x00, 0x0b], sized(&r).as_slice(), &sized(&s)].concat()
    }
}

/// `TPMT_PUBLIC` of the release key.
pub fn release_public() -> Vec<u8> {
    ecc_public(5, RELEASE_KEY_ATTRIBUTES)
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
