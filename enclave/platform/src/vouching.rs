//! What a platform that gives its guests a TPM says of that TPM: a report in an index, and a key of its own.
//!
//! In: a connected TPM. Out: the report as it stands there, and what the platform's key says of our attestation
//! key. Nothing is judged here; a verifier judges the bytes.
//!
//! Azure: the paravisor keeps its report in NV index 0x01400001, which the owner reads, and its attestation key,
//! RSA-2048, at 0x81000003. Source: `docs/spec/azure.md`. SPEC: TPM 2.0 Part 3, 18.2 and 31.13.
//!
//! Google Cloud: the hypervisor keeps templates of its keys and their certificates in NV indices. From a template the
//! TPM makes the same key each time; it is used once and flushed. Source: google/go-tpm-tools, `client/handles.go`.

use crate::attester::Qualifying;
use crate::commands::{Attested, Public, RH_ENDORSEMENT, RH_OWNER};
use crate::connection::{Authorization, Command, Connection, Named, Request};
use crate::device::Device;
use crate::error::TpmError;
use crate::wire::{Reader, WireError, Writer};

/// Where Azure's paravisor keeps its report.
pub const PARAVISOR_REPORT_INDEX: u32 = 0x0140_0001;

/// Where Azure's paravisor keeps its attestation key.
pub const PARAVISOR_KEY: u32 = 0x8100_0003;

/// Where Google's TPMs keep a certificate and the template of the key that it is of: RSA first, then ECC.
pub(crate) const GOOGLE_KEYS: [GoogleKey; 2] = [
    GoogleKey {
        certificate: 0x01C1_0000,
        template: 0x01C1_0001,
    },
    GoogleKey {
        certificate: 0x01C1_0002,
        template: 0x01C1_0003,
    },
];

/// Indices of a key of Google's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoogleKey {
    /// Its certificate, DER.
    pub(crate) certificate: u32,
    /// Its public area, as `TPM2_CreatePrimary` takes it.
    pub(crate) template: u32,
}

/// `TPM_ALG_NULL`.
const ALG_NULL: u16 = 0x0010;

/// Bytes that are read of an index at a time: every TPM gives so many.
const CHUNK_BYTES: u16 = 512;

/// Most bytes of an index that are read. Azure's reports have 2600, Google's certificates some 1500.
const MAX_INDEX_BYTES: u16 = 8192;

/// What a key of the platform says of the attestation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformWord {
    /// `TPMT_PUBLIC` of the platform's key.
    pub public: Vec<u8>,
    /// `TPMS_ATTEST` of type certify.
    pub certify: Vec<u8>,
    /// `TPMT_SIGNATURE` of the platform's key over it.
    pub certify_signature: Vec<u8>,
}

/// The word of a key of Google's, and who says that it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleWord {
    /// What it says of our attestation key.
    pub word: PlatformWord,
    /// Its certificate, DER, as it stands in the TPM.
    pub certificate: Vec<u8>,
}

impl Device {
    /// The report of a paravisor; nothing where the index does not exist.
    pub(crate) fn paravisor_report(&mut self) -> Result<Option<Vec<u8>>, TpmError> {
        paravisor_report(&mut self.connection)
    }

    /// Has a key of the platform certify the attestation key; nothing where the platform has no such key.
    pub(crate) fn platform_word(
        &mut self,
        signer: u32,
        qualifying: Qualifying,
    ) -> Result<Option<PlatformWord>, TpmError> {
        let Some(public) = self.connection.read_public(signer)? else {
            return Ok(None);
        };
        self.word_of(signer, public, qualifying).map(Some)
    }

    /// Has a key of Google's certify the attestation key; nothing where the TPM keeps neither of its keys.
    pub(crate) fn google_word(
        &mut self,
        qualifying: Qualifying,
    ) -> Result<Option<GoogleWord>, TpmError> {
        for key in GOOGLE_KEYS {
            let certificate = kept(&mut self.connection, key.certificate)?;
            let template = kept(&mut self.connection, key.template)?;
            let (Some(certificate), Some(template)) = (certificate, template) else {
                continue;
            };
            let made = self.connection.create_primary(RH_ENDORSEMENT, &template)?;
            let word = self.word_of(made.handle, made.public, qualifying);
            let flushed = self.connection.flush(made.handle);
            let word = word?;
            flushed?;
            return Ok(Some(GoogleWord { word, certificate }));
        }
        Ok(None)
    }

    fn word_of(
        &mut self,
        signer: u32,
        public: Public,
        qualifying: Qualifying,
    ) -> Result<PlatformWord, TpmError> {
        let key = (signer, public.name);
        let ours = (self.attestation_key(), self.identity().attestation_key.name);
        let Attested { attest, signature } = self.connection.certify(&ours, &key, &qualifying.0)?;
        Ok(PlatformWord {
            public: public.area,
            certify: attest,
            certify_signature: signature,
        })
    }
}

/// The report of a paravisor; nothing where the index does not exist.
pub(crate) fn paravisor_report(connection: &mut Connection) -> Result<Option<Vec<u8>>, TpmError> {
    kept(connection, PARAVISOR_REPORT_INDEX)
}

/// Whether the TPM keeps a key of Google's with its certificate.
pub(crate) fn has_google_key(connection: &mut Connection) -> Result<bool, TpmError> {
    for key in GOOGLE_KEYS {
        let there = connection.nv_read_public(key.certificate)?.is_some()
            && connection.nv_read_public(key.template)?.is_some();
        if there {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What an index holds that the owner may read; nothing where it does not exist.
fn kept(connection: &mut Connection, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
    let Some(public) = connection.nv_read_public(index)? else {
        return Ok(None);
    };
    let size = index_size(&public).map_err(|wrong| TpmError::Malformed {
        command: "TPM2_NV_ReadPublic",
        wrong,
    })?;
    let size = size.min(MAX_INDEX_BYTES);
    let mut report = Vec::with_capacity(usize::from(size));
    let mut offset = 0_u16;
    while offset < size {
        let count = size.saturating_sub(offset).min(CHUNK_BYTES);
        report.extend(connection.nv_read_by_owner(index, count, offset)?);
        offset = offset.saturating_add(count);
    }
    Ok(Some(report))
}

impl Connection {
    /// Bytes of an index that the owner may read.
    fn nv_read_by_owner(
        &mut self,
        index: u32,
        count: u16,
        offset: u16,
    ) -> Result<Vec<u8>, TpmError> {
        const READ: Command = Command::plain(0x14E, "TPM2_NV_Read");
        let parameters = Writer::new().u16(count).u16(offset);
        let reply = self.ask_with_password(READ, &[RH_OWNER, index], parameters)?;
        let bytes = reply.read(|r| Ok(r.sized()?.to_vec()))?;
        if bytes.len() == usize::from(count) {
            Ok(bytes)
        } else {
            Err(TpmError::Malformed {
                command: READ.name,
                wrong: WireError::Short {
                    wanted: usize::from(count),
                    left: bytes.len(),
                },
            })
        }
    }

    /// Has one key sign what another is.
    fn certify(
        &mut self,
        object: &(u32, [u8; 34]),
        key: &(u32, [u8; 34]),
        qualifying: &[u8; 32],
    ) -> Result<Attested, TpmError> {
        const CERTIFY: Command = Command::plain(0x148, "TPM2_Certify");
        let named = |(handle, name): &'_ (u32, [u8; 34])| (*handle, *name);
        let (object, key) = (named(object), named(key));
        let handles = &[
            Named {
                handle: object.0,
                name: &object.1,
            },
            Named {
                handle: key.0,
                name: &key.1,
            },
        ];
        let authorizations = &mut [Authorization::EmptyPassword, Authorization::EmptyPassword];
        self.run(Request {
            command: CERTIFY,
            handles,
            authorizations,
            parameters: Writer::new().sized(qualifying).u16(ALG_NULL),
        })?
        .read(signed_by_any)
    }
}

/// `TPM2B_ATTEST` and a `TPMT_SIGNATURE` of RSASSA or ECDSA, kept as they came.
fn signed_by_any(r: &mut Reader<'_>) -> Result<Attested, WireError> {
    let attest = r.sized()?.to_vec();
    let (scheme, hash) = (r.u16()?, r.u16()?);
    let writer = Writer::new().u16(scheme).u16(hash).sized(r.sized()?);
    // ECDSA has two numbers, RSASSA one.
    let writer = if scheme == 0x0018 {
        writer.sized(r.sized()?)
    } else {
        writer
    };
    Ok(Attested {
        attest,
        signature: writer.finish()?.to_vec(),
    })
}

/// `dataSize` of a `TPMS_NV_PUBLIC`. SPEC: Part 2, 13.5.
fn index_size(public: &Public) -> Result<u16, WireError> {
    let mut r = Reader::new(&public.area);
    let (_index, _algorithm, _attributes) = (r.u32()?, r.u16()?, r.u32()?);
    let _policy = r.sized()?;
    r.u16()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::swtpm::Swtpm;
    use crate::tpm::Tpm;
    use countersign_evidence::tpm::{
        CertifiedEvidence, CertifiedPolicy, ExpectedKey, KeyName, KeySignature, PresentedKey,
        TpmName, appraise_certified,
    };

    const QUALIFYING: Qualifying = Qualifying([0x51; 32]);

    /// RSA-2048 · SHA-256 · restricted signing key · no policy · RSASSA with SHA-256: what the paravisor's key is.
    const PARAVISOR_TEMPLATE: [u8; 24] = [
        0x00, 0x01, 0x00, 0x0B, 0x00, 0x05, 0x04, 0x72, 0x00, 0x00, 0x00, 0x10, 0x00, 0x14, 0x00,
        0x0B, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];

    fn bench() -> (Tpm, Swtpm, tempfile::TempDir) {
        let state = tempfile::tempdir().unwrap();
        let swtpm = Swtpm::start(state.path()).unwrap();
        (Tpm::open(swtpm.address()).unwrap(), swtpm, state)
    }

    /// Puts a report where a paravisor does.
    pub(crate) fn keep_report(tpm: &Tpm, report: Vec<u8>) {
        keep(tpm, PARAVISOR_REPORT_INDEX, report);
    }

    /// Puts bytes where whoever runs the TPM would.
    fn keep(tpm: &Tpm, index: u32, report: Vec<u8>) {
        const WRITE: Command = Command::plain(0x137, "TPM2_NV_Write");
        tpm.as_stranger(move |c| {
            let size = u16::try_from(report.len()).unwrap();
            let public = Writer::new()
                .u32(index)
                .u16(0x000B)
                .u32(0x0202_0002)
                .sized(&[])
                .u16(size)
                .finish()
                .unwrap();
            c.nv_define(&public)?;
            for (number, chunk) in (0_u16..).zip(report.chunks(512)) {
                let parameters = Writer::new().sized(chunk).u16(number.saturating_mul(512));
                c.ask_with_password(WRITE, &[RH_OWNER, index], parameters)?
                    .read(|_| Ok(()))?;
            }
            Ok(())
        })
        .unwrap();
    }

    /// Puts a key where a paravisor does.
    pub(crate) fn keep_key(tpm: &Tpm) {
        tpm.as_stranger(|c| {
            let key = c.create_primary(RH_ENDORSEMENT, &PARAVISOR_TEMPLATE)?;
            c.persist(key.handle, PARAVISOR_KEY)?;
            c.flush(key.handle)
        })
        .unwrap();
    }

    #[test]
    fn the_report_of_a_paravisor_comes_out_as_it_stands_there() {
        let (tpm, _swtpm, _state) = bench();
        assert_eq!(tpm.paravisor_report(), Ok(None));
        let report: Vec<u8> = (0..1700_u32)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        keep_report(&tpm, report.clone());
        assert_eq!(tpm.paravisor_report(), Ok(Some(report)));
    }

    /// Puts a key's template and certificate where Google does.
    pub(crate) fn keep_google(tpm: &Tpm) {
        keep(tpm, GOOGLE_KEYS[1].certificate, b"of the ecc key".to_vec());
        keep(tpm, GOOGLE_KEYS[1].template, GOOGLE_ECC.to_vec());
    }

    /// The name of a public area.
    fn name_of(public: &[u8]) -> TpmName {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(public);
        let name = [&[0x00, 0x0B], digest.as_slice()].concat();
        TpmName(name.try_into().unwrap())
    }

    /// Whether the verifier takes a word for our key.
    pub(crate) fn is_taken(tpm: &Tpm, word: &PlatformWord, qualifying: Qualifying) -> bool {
        let ours = tpm.identity().attestation_key.clone();
        let evidence = CertifiedEvidence {
            signer: PresentedKey::Public(&word.public),
            public: &ours.tpmt_public,
            certify: &word.certify,
            signature: KeySignature::Tpmt(&word.certify_signature),
        };
        let policy = CertifiedPolicy {
            signer: ExpectedKey::Named(&[KeyName::Sha256(name_of(&word.public))]),
            qualifying: Some(qualifying.0.to_vec()),
            certified: KeyName::Sha256(TpmName(ours.name)),
        };
        appraise_certified(&evidence, &policy).verified().is_some()
    }

    /// ECC P-256 · SHA-256 · restricted signing key · no policy · ECDSA with SHA-256: what Google's template for ECC says.
    const GOOGLE_ECC: [u8; 24] = [
        0x00, 0x23, 0x00, 0x0B, 0x00, 0x05, 0x00, 0x72, 0x00, 0x00, 0x00, 0x10, 0x00, 0x18, 0x00,
        0x0B, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn googles_key_is_made_from_its_template_speaks_for_ours_and_leaves_nothing_behind() {
        let (tpm, _swtpm, _state) = bench();
        assert_eq!(tpm.google_word(QUALIFYING), Ok(None));
        keep(&tpm, GOOGLE_KEYS[1].certificate, b"of the ecc key".to_vec());
        assert_eq!(tpm.google_word(QUALIFYING), Ok(None), "no template");
        keep(&tpm, GOOGLE_KEYS[1].template, GOOGLE_ECC.to_vec());
        // Three transient keys are all that a TPM has to have room for.
        for _ in 0..4 {
            let GoogleWord { word, certificate } = tpm.google_word(QUALIFYING).unwrap().unwrap();
            assert_eq!(certificate, b"of the ecc key");
            assert!(is_taken(&tpm, &word, QUALIFYING));
            assert!(!is_taken(&tpm, &word, Qualifying([0; 32])));
        }
        let mut rsa = PARAVISOR_TEMPLATE.to_vec();
        rsa[6..8].copy_from_slice(&[0x00, 0x72]);
        keep(&tpm, GOOGLE_KEYS[0].certificate, b"of the rsa key".to_vec());
        keep(&tpm, GOOGLE_KEYS[0].template, rsa);
        let GoogleWord { word, certificate } = tpm.google_word(QUALIFYING).unwrap().unwrap();
        assert_eq!(certificate, b"of the rsa key");
        assert!(is_taken(&tpm, &word, QUALIFYING));
    }

    #[test]
    fn the_verifier_takes_the_word_of_the_platforms_key_for_ours() {
        let (tpm, _swtpm, _state) = bench();
        assert_eq!(tpm.platform_word(PARAVISOR_KEY, QUALIFYING), Ok(None));
        keep_key(&tpm);
        let word = tpm
            .platform_word(PARAVISOR_KEY, QUALIFYING)
            .unwrap()
            .unwrap();
        assert!(is_taken(&tpm, &word, QUALIFYING));
        assert!(!is_taken(&tpm, &word, Qualifying([0; 32])));
    }
}
