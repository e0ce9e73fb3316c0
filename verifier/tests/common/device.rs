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
    /// A change to the next evidence, made once, before it is signed.
    pub edit: Option<fn(&mut Draft)>,
}

/// Evidence before it is signed.
pub struct Draft {
    pub ak_public: Vec<u8>,
    pub nv_public: Vec<u8>,
    pub certify: Statement,
    pub quote: Statement,
    pub pcrs: Vec<PcrValue>,
    pub event_log: Option<Vec<u8>>,
    /// A change after signing.
    pub after: Option<fn(&mut TpmEvidence)>,
}

/// `TPMS_ATTEST`.
pub struct Statement {
    pub magic: u32,
    pub kind: u16,
    pub signer: Vec<u8>,
    pub qualifying: Vec<u8>,
    pub clock: u64,
    pub resets: (u32, u32),
    pub safe: u8,
    pub firmware: u64,
    pub attested: Vec<u8>,
}

impl Statement {
    fn bytes(&self) -> Vec<u8> {
        [
            self.magic.to_be_bytes().as_slice(),
            &self.kind.to_be_bytes(),
            &sized(&self.signer),
            &sized(&self.qualifying),
            &self.clock.to_be_bytes(),
            &self.resets.0.to_be_bytes(),
            &self.resets.1.to_be_bytes(),
            &[self.safe],
            &self.firmware.to_be_bytes(),
            &self.attested,
        ]
        .concat()
    }
}

/// The qualified name of a primary key: its name under the handle of its hierarchy.
pub fn qualified(hierarchy: u32, name: &[u8]) -> Vec<u8> {
    let digest = Sha256::digest([hierarchy.to_be_bytes().as_slice(), name].concat());
    [&[0x00, 0x0b], digest.as_slice()].concat()
}

/// `TPMS_NV_PUBLIC`.
pub fn nv_public(index: u32, attributes: u32, policy: &[u8], size: u16) -> Vec<u8> {
    [
        index.to_be_bytes().as_slice(),
        &[0x00, 0x0b],
        &attributes.to_be_bytes(),
        &sized(policy),
        &size.to_be_bytes(),
    ]
    .concat()
}

/// What a certification attests: name of the index, offset, contents.
pub fn certified(nv_public: &[u8], offset: u16, contents: &[u8]) -> Vec<u8> {
    [
        sized(&TpmName::of(nv_public).0).as_slice(),
        &offset.to_be_bytes(),
        &sized(contents),
    ]
    .concat()
}

/// What a quote attests: one selection, digest.
pub fn quoted(bank: u16, select: &[u8], digest: &[u8]) -> Vec<u8> {
    let octets = u8::try_from(select.len()).unwrap();
    [
        1u32.to_be_bytes().as_slice(),
        &bank.to_be_bytes(),
        &[octets],
        select,
        &sized(digest),
    ]
    .concat()
}

/// Attributes of the attestation key.
pub const AK_ATTRIBUTES: u32 = 0x0005_0072;

impl Device {
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            ak_seed: 1,
            counter: 40,
            reset_count: 3,
            clock: 1000,
            edit: None,
        }
    }

    pub fn ak_name(&self) -> Vec<u8> {
        TpmName::of(&ecc_public(self.ak_seed, AK_ATTRIBUTES))
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
        let policy = policy_authorize_digest(&ReleaseKey::parse(&release_public()).unwrap());
        let nv_public = nv_public(COUNTER_INDEX, COUNTER_ATTRIBUTES, &policy.0, 8);
        let mut select = [0u8; 3];
        PCRS.iter()
            .for_each(|p| select[usize::from(p / 8)] |= 1 << (p % 8));
        let digest = Sha256::digest(
            Self::pcr_values()
                .iter()
                .flat_map(|p| p.value)
                .collect::<Vec<_>>(),
        );
        let mut draft = Draft {
            ak_public: ecc_public(self.ak_seed, AK_ATTRIBUTES),
            certify: self.statement(
                0x8014,
                qualifying,
                certified(&nv_public, 0, &self.counter.to_be_bytes()),
            ),
            nv_public,
            quote: self.statement(0x8018, qualifying, quoted(0x000b, &select, &digest)),
            pcrs: Self::pcr_values(),
            event_log: None,
            after: None,
        };
        if let Some(edit) = self.edit.take() {
            edit(&mut draft);
        }
        let (certify, quote) = (draft.certify.bytes(), draft.quote.bytes());
        let mut evidence = TpmEvidence {
            profile: self.profile,
            quote_signature: Bytes(self.sign(&quote)),
            certify_signature: Bytes(self.sign(&certify)),
            ak_public: Bytes(draft.ak_public),
            quote: Bytes(quote),
            pcrs: draft.pcrs,
            nv_public: Bytes(draft.nv_public),
            certify: Bytes(certify),
            event_log: draft.event_log.map(Bytes),
        };
        if let Some(after) = draft.after {
            after(&mut evidence);
        }
        evidence
    }

    fn statement(&self, kind: u16, qualifying: Qualifying, attested: Vec<u8>) -> Statement {
        Statement {
            magic: 0xff54_4347,
            kind,
            signer: qualified(0x4000_000b, &self.ak_name()),
            qualifying: qualifying.0.to_vec(),
            clock: self.clock,
            resets: (self.reset_count, 0),
            safe: 1,
            firmware: 0x0007_0055_0011_4800,
            attested,
        }
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

pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub fn ecc_public(seed: u8, attributes: u32) -> Vec<u8> {
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
