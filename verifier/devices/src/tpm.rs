//! A fake TPM: public areas, names, statements and signatures as a TPM writes them; every field is a
//! test's to change.
//!
//! SPEC: TCG "TPM 2.0 Library" Part 1, 16; Part 2, 10.12, 11.3.4 and 12.2.4.

use sha2::{Digest as _, Sha256, Sha384};

use crate::key::Key;
use crate::rsa::Hash;

/// Attributes of a platform's attestation key: `fixedTPM | fixedParent | sensitiveDataOrigin |
/// userWithAuth | noDA | restricted | sign`.
pub const AK_ATTRIBUTES: u32 = 0x0005_0472;

/// `TPM_RH_ENDORSEMENT`.
pub const ENDORSEMENT: u32 = 0x4000_000b;

/// `TPM_ST_ATTEST_QUOTE`, `_CERTIFY` and `_NV`.
pub const QUOTE: u16 = 0x8018;
/// See [`QUOTE`].
pub const CERTIFY: u16 = 0x8017;
/// See [`QUOTE`].
pub const NV: u16 = 0x8014;

/// A `TPMT_PUBLIC`, field by field.
#[derive(Debug, Clone)]
pub struct Public {
    /// `type`: 1 RSA, 0x23 ECC.
    pub kind: u16,
    /// `nameAlg`: 0xb SHA-256, 0xc SHA-384.
    pub name_algorithm: u16,
    /// `objectAttributes`.
    pub attributes: u32,
    /// `authPolicy`.
    pub policy: Vec<u8>,
    /// `symmetric`.
    pub symmetric: u16,
    /// `scheme`: 0x14 RSASSA, 0x18 ECDSA.
    pub scheme: u16,
    /// The scheme's digest.
    pub hash: u16,
    /// `keyBits` and `exponent`, or `curveID` and `kdf`.
    pub parameters: Vec<u8>,
    /// Modulus, or x and y.
    pub unique: Vec<Vec<u8>>,
    /// What stands after it.
    pub trailing: Vec<u8>,
}

impl Public {
    /// Of a key, with the digest that fits its curve, or SHA-256.
    #[must_use]
    pub fn of(key: &Key, attributes: u32) -> Self {
        let ecc = |hash: u16, curve: u8| {
            let point = key.point();
            let (x, y) = point[1..].split_at(point.len() / 2);
            Self {
                kind: 0x23,
                name_algorithm: hash,
                attributes,
                policy: vec![],
                symmetric: 0x10,
                scheme: 0x18,
                hash,
                parameters: vec![0, curve, 0, 0x10],
                unique: vec![x.to_vec(), y.to_vec()],
                trailing: vec![],
            }
        };
        match key {
            Key::Rsa(_) => {
                let modulus = key.modulus();
                let bits = u16::try_from(modulus.len() * 8).unwrap();
                Self {
                    kind: 1,
                    name_algorithm: 0xb,
                    attributes,
                    policy: vec![],
                    symmetric: 0x10,
                    scheme: 0x14,
                    hash: 0xb,
                    parameters: [bits.to_be_bytes().as_slice(), &[0; 4]].concat(),
                    unique: vec![modulus],
                    trailing: vec![],
                }
            }
            Key::P256(_) => ecc(0xb, 3),
            Key::P384(_) => ecc(0xc, 4),
        }
    }

    /// As a TPM writes it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            kind,
            name_algorithm,
            attributes,
            policy,
            symmetric,
            scheme,
            hash,
            parameters,
            unique,
            trailing,
        } = self;
        [
            kind.to_be_bytes().as_slice(),
            &name_algorithm.to_be_bytes(),
            &attributes.to_be_bytes(),
            &sized(policy),
            &symmetric.to_be_bytes(),
            &scheme.to_be_bytes(),
            &hash.to_be_bytes(),
            parameters,
            &unique.iter().flat_map(|it| sized(it)).collect::<Vec<_>>(),
            trailing,
        ]
        .concat()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        digest_name(self.name_algorithm, &[&self.to_bytes()])
    }

    /// Its name as a primary key of a hierarchy.
    #[must_use]
    pub fn qualified_name(&self, hierarchy: u32) -> Vec<u8> {
        digest_name(
            self.name_algorithm,
            &[&hierarchy.to_be_bytes(), &self.name()],
        )
    }
}

fn digest_name(algorithm: u16, parts: &[&[u8]]) -> Vec<u8> {
    let digest = match algorithm {
        0xc => Sha384::digest(parts.concat()).to_vec(),
        _ => Sha256::digest(parts.concat()).to_vec(),
    };
    [algorithm.to_be_bytes().as_slice(), &digest].concat()
}

/// A `TPMS_ATTEST`, field by field.
#[derive(Debug, Clone)]
pub struct Statement {
    /// `magic`.
    pub magic: u32,
    /// `type`.
    pub kind: u16,
    /// `qualifiedSigner`.
    pub signer: Vec<u8>,
    /// `extraData`.
    pub qualifying: Vec<u8>,
    /// `clockInfo.clock`.
    pub clock_ms: u64,
    /// `clockInfo.resetCount`.
    pub reset_count: u32,
    /// `clockInfo.restartCount`.
    pub restart_count: u32,
    /// `clockInfo.safe`.
    pub safe: u8,
    /// `firmwareVersion`.
    pub firmware: u64,
    /// `attested`, see [`quoted`] and [`certified`].
    pub attested: Vec<u8>,
    /// What stands after it.
    pub trailing: Vec<u8>,
}

impl Statement {
    /// One that is as it should be.
    #[must_use]
    pub fn new(kind: u16, signer: Vec<u8>, qualifying: &[u8], attested: Vec<u8>) -> Self {
        Self {
            magic: 0xff54_4347,
            kind,
            signer,
            qualifying: qualifying.to_vec(),
            clock_ms: 123_456,
            reset_count: 7,
            restart_count: 0,
            safe: 1,
            firmware: 0x2020_0312_0012_0003,
            attested,
            trailing: vec![],
        }
    }

    /// As a TPM signs it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            magic,
            kind,
            signer,
            qualifying,
            clock_ms,
            reset_count,
            restart_count,
            safe,
            firmware,
            attested,
            trailing,
        } = self;
        [
            magic.to_be_bytes().as_slice(),
            &kind.to_be_bytes(),
            &sized(signer),
            &sized(qualifying),
            &clock_ms.to_be_bytes(),
            &reset_count.to_be_bytes(),
            &restart_count.to_be_bytes(),
            &[*safe],
            &firmware.to_be_bytes(),
            attested,
            trailing,
        ]
        .concat()
    }
}

/// `TPMS_QUOTE_INFO` over values of the SHA-256 bank, hashed by the digest of the signing key.
#[must_use]
pub fn quoted(values: &[(u8, [u8; 32])], hash: Hash) -> Vec<u8> {
    let mut select = [0_u8; 3];
    for (index, _) in values {
        select[usize::from(index / 8)] |= 1 << (index % 8);
    }
    let all: Vec<u8> = values.iter().flat_map(|(_, value)| *value).collect();
    selected(&[(0xb, &select)], &hash.digest(&all))
}

/// `TPMS_QUOTE_INFO` of any banks, selections and digest.
#[must_use]
pub fn selected(banks: &[(u16, &[u8])], digest: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(banks.len()).unwrap().to_be_bytes().to_vec();
    for (bank, select) in banks {
        out.extend(bank.to_be_bytes());
        out.push(u8::try_from(select.len()).unwrap());
        out.extend(*select);
    }
    out.extend(sized(digest));
    out
}

/// `TPMS_CERTIFY_INFO`.
#[must_use]
pub fn certified(name: &[u8], qualified_name: &[u8]) -> Vec<u8> {
    [sized(name), sized(qualified_name)].concat()
}

/// `TPMT_SIGNATURE` by a key's scheme.
#[must_use]
pub fn signature(key: &Key, hash: Hash, message: &[u8]) -> Vec<u8> {
    let digest: u16 = match hash {
        Hash::Sha256 => 0xb,
        Hash::Sha384 => 0xc,
        Hash::Sha512 => 0xd,
    };
    match key {
        Key::Rsa(rsa) => [
            [0x00, 0x14].as_slice(),
            &digest.to_be_bytes(),
            &sized(&rsa.sign_pkcs1(hash, message)),
        ]
        .concat(),
        Key::P256(_) | Key::P384(_) => {
            let (r, s) = key.sign_raw(hash, message);
            [
                [0x00, 0x18].as_slice(),
                &digest.to_be_bytes(),
                &sized(&r),
                &sized(&s),
            ]
            .concat()
        }
    }
}

/// A `TPM2B`.
#[must_use]
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [
        u16::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(),
        bytes,
    ]
    .concat()
}
