use countersign_devices::key::{Key, Rsa};
use countersign_devices::rsa::Hash;
use countersign_devices::tpm::{
    AK_ATTRIBUTES, CERTIFY, ENDORSEMENT, Public, Statement, certified, signature,
};

use super::*;
use crate::party::Party;
use crate::tpm::{EvidenceClass, PlainKey};

/// A platform's RSA key certifies our P-256 key; every part is a test's to change.
struct Draft {
    public: Public,
    statement: Statement,
    signer: Key,
    qualifying: Option<Vec<u8>>,
}

#[derive(Clone)]
struct Bytes {
    public: Vec<u8>,
    certify: Vec<u8>,
    signature: Vec<u8>,
}

fn platform() -> Public {
    Public::of(&Key::rsa(Rsa::Tpm), AK_ATTRIBUTES)
}

fn ours() -> Public {
    Public::of(&Key::p256(7), AK_ATTRIBUTES)
}

fn statement(public: &Public) -> Statement {
    Statement::new(
        CERTIFY,
        platform().qualified_name(ENDORSEMENT),
        b"nonce",
        certified(&public.name(), &public.qualified_name(ENDORSEMENT)),
    )
}

impl Draft {
    fn good() -> Self {
        Self {
            public: ours(),
            statement: statement(&ours()),
            signer: Key::rsa(Rsa::Tpm),
            qualifying: Some(b"nonce".to_vec()),
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut draft = Self::good();
        change(&mut draft);
        draft
    }

    fn build(&self) -> Bytes {
        let certify = self.statement.to_bytes();
        Bytes {
            public: self.public.to_bytes(),
            signature: signature(&self.signer, Hash::Sha256, &certify),
            certify,
        }
    }
}

fn vouched() -> VouchedKey {
    let key = PlainKey::rsa(&Key::rsa(Rsa::Tpm).modulus(), 65537).unwrap();
    VouchedKey::new(
        key,
        EvidenceClass::ParavisorTpm,
        vec![Party::MicrosoftParavisor],
    )
}

fn appraise(bytes: &Bytes, signer: ExpectedKey<'_>, draft: &Draft) -> CertifiedAppraisal {
    let plain = PlainKey::rsa(&Key::rsa(Rsa::Tpm).modulus(), 65537).unwrap();
    let evidence = CertifiedEvidence {
        signer: PresentedKey::Plain(&plain),
        public: &bytes.public,
        certify: &bytes.certify,
        signature: KeySignature::Tpmt(&bytes.signature),
    };
    let name = TpmKey::parse(&draft.public.to_bytes()).map(|key| key.name());
    let expected = TpmKey::parse(&ours().to_bytes()).unwrap().name();
    let policy = CertifiedPolicy {
        signer,
        qualifying: draft.qualifying.clone(),
        certified: name.unwrap_or(expected),
    };
    let appraisal = appraise_certified(&evidence, &policy);
    let listed: Vec<_> = appraisal.checks().iter().map(|it| it.code).collect();
    assert_eq!(listed, CertifiedCheck::ALL);
    appraisal
}

fn failures(draft: &Draft) -> Vec<&'static str> {
    let key = vouched();
    let appraisal = appraise(&draft.build(), ExpectedKey::Vouched(&key), draft);
    let codes: Vec<_> = appraisal.failures().map(|it| it.code.as_str()).collect();
    assert_eq!(appraisal.verified().is_some(), codes.is_empty());
    codes
}

#[test]
fn a_certified_key_has_the_class_and_the_parties_of_the_key_that_certified_it() {
    let (draft, key) = (Draft::good(), vouched());
    let appraisal = appraise(&draft.build(), ExpectedKey::Vouched(&key), &draft);
    let verified = appraisal.verified().unwrap();
    assert_eq!(verified.class(), EvidenceClass::ParavisorTpm);
    assert_eq!(verified.parties(), [Party::MicrosoftParavisor]);
    assert_eq!(
        verified.name().unwrap().as_bytes(),
        ours().name().as_slice()
    );
}

#[test]
fn a_key_may_be_certified_by_any_accepted_algorithm() {
    for signer in [Key::p256(3), Key::p384(3)] {
        let public = Public::of(&signer, AK_ATTRIBUTES);
        let hash = match signer {
            Key::P384(_) => Hash::Sha384,
            Key::P256(_) | Key::Rsa(_) => Hash::Sha256,
        };
        let mut statement = statement(&ours());
        statement.signer = public.qualified_name(ENDORSEMENT);
        let certify = statement.to_bytes();
        let name = TpmKey::parse(&public.to_bytes()).unwrap().name();
        let evidence = CertifiedEvidence {
            signer: PresentedKey::Public(&public.to_bytes()),
            public: &ours().to_bytes(),
            signature: KeySignature::Tpmt(&signature(&signer, hash, &certify)),
            certify: &certify,
        };
        let policy = CertifiedPolicy {
            signer: ExpectedKey::Named(&[name]),
            qualifying: None,
            certified: TpmKey::parse(&ours().to_bytes()).unwrap().name(),
        };
        let appraisal = appraise_certified(&evidence, &policy);
        assert!(appraisal.verified().is_some(), "{:?}", appraisal.checks());
    }
}

#[test]
fn another_signer_than_the_vouched_key_is_refused() {
    let draft = Draft::good();
    let key = PlainKey::rsa(&Key::rsa(Rsa::Endorsement).modulus(), 65537).unwrap();
    let other = VouchedKey::new(key, EvidenceClass::ParavisorTpm, vec![]);
    let appraisal = appraise(&draft.build(), ExpectedKey::Vouched(&other), &draft);
    let codes: Vec<_> = appraisal.failures().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["tpm.certify.signer.vouched"]);
    assert!(appraisal.verified().is_none());
}

#[test]
fn without_anybody_who_vouches_nothing_is_verified() {
    let draft = Draft::good();
    let appraisal = appraise(&draft.build(), ExpectedKey::Nobody, &draft);
    assert_eq!(appraisal.failures().count(), 0);
    assert!(appraisal.verified().is_none());
}

#[test]
fn a_signer_of_unknown_attributes_vouches_for_nothing() {
    // Its name is that of a key with other attributes, or under another hierarchy.
    for signer in [
        Public::of(&Key::rsa(Rsa::Tpm), 0x0004_0472).qualified_name(ENDORSEMENT),
        platform().qualified_name(0x4000_0001),
    ] {
        let draft = Draft::with(|it| it.statement.signer = signer);
        let key = vouched();
        let appraisal = appraise(&draft.build(), ExpectedKey::Vouched(&key), &draft);
        assert!(appraisal.verified().is_none());
        let skipped = |code| {
            let of_code = |it: &&Check<CertifiedCheck>| it.code == code;
            appraisal.checks().iter().find(of_code).unwrap().outcome
        };
        assert_eq!(
            skipped(CertifiedCheck::SignerAttributes),
            Outcome::NotChecked
        );
        assert_eq!(skipped(CertifiedCheck::Signer), Outcome::NotChecked);
    }
}

#[test]
fn a_signer_with_a_public_area_has_the_attributes_and_the_name_of_it() {
    let unrestricted = Public::of(&Key::rsa(Rsa::Tpm), 0x0004_0472);
    for (public, signer, codes) in [
        (
            unrestricted.clone(),
            unrestricted.qualified_name(ENDORSEMENT),
            vec!["tpm.certify.signer.attributes"],
        ),
        (
            platform(),
            platform().qualified_name(0x4000_0001),
            vec!["tpm.certify.signer"],
        ),
        (
            Public {
                trailing: vec![0],
                ..platform()
            },
            platform().qualified_name(ENDORSEMENT),
            vec!["tpm.certify.signer.public"],
        ),
    ] {
        let draft = Draft::with(|it| it.statement.signer = signer);
        let bytes = draft.build();
        let key = vouched();
        let evidence = CertifiedEvidence {
            signer: PresentedKey::Public(&public.to_bytes()),
            public: &bytes.public,
            certify: &bytes.certify,
            signature: KeySignature::Tpmt(&bytes.signature),
        };
        let policy = CertifiedPolicy {
            signer: ExpectedKey::Vouched(&key),
            qualifying: None,
            certified: TpmKey::parse(&bytes.public).unwrap().name(),
        };
        let appraisal = appraise_certified(&evidence, &policy);
        let found: Vec<_> = appraisal.failures().map(|it| it.code.as_str()).collect();
        assert_eq!(found, codes);
        assert!(appraisal.verified().is_none());
    }
}

#[test]
fn a_statement_of_another_form_or_type_is_refused() {
    let changes: [fn(&mut Statement); 4] = [
        |it| it.magic ^= 1,
        |it| it.kind = 0x8018,
        |it| it.trailing = vec![0],
        |it| it.safe = 2,
    ];
    for change in changes {
        let draft = Draft::with(|it| change(&mut it.statement));
        assert_eq!(failures(&draft), ["tpm.certify.structure"]);
    }
}

#[test]
fn a_statement_by_another_key_is_refused() {
    let draft = Draft::with(|it| it.signer = Key::rsa(Rsa::Endorsement));
    assert_eq!(failures(&draft), ["tpm.certify.signature"]);
}

#[test]
fn other_qualifying_data_are_refused_whole() {
    for other in [b"nonc".as_slice(), b"nonce\0", b""] {
        let draft = Draft::with(|it| it.qualifying = Some(other.to_vec()));
        assert_eq!(failures(&draft), ["tpm.certify.qualifying"]);
    }
    assert_eq!(failures(&Draft::with(|it| it.qualifying = None)), [""; 0]);
}

#[test]
fn a_certified_key_that_could_sign_or_be_anywhere_is_refused() {
    // Not restricted; not fixed to the TPM; not fixed to its parent; not made there; also decrypting.
    for bit in [16, 1, 4, 5, 17] {
        let public = Public::of(&Key::p256(7), AK_ATTRIBUTES ^ (1 << bit));
        let draft = Draft::with(|it| {
            it.statement = statement(&public);
            it.public = public;
        });
        assert_eq!(failures(&draft), ["tpm.certify.key.attributes"]);
    }
}

#[test]
fn another_key_than_the_one_expected_is_refused() {
    let other = Public::of(&Key::p256(8), AK_ATTRIBUTES);
    let (draft, key) = (Draft::good(), vouched());
    let bytes = Draft::with(|it| {
        it.statement = statement(&other);
        it.public = other;
    })
    .build();
    let appraisal = appraise(&bytes, ExpectedKey::Vouched(&key), &draft);
    let codes: Vec<_> = appraisal.failures().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["tpm.certify.key.expected"]);
    assert!(appraisal.verified().is_none());
}

#[test]
fn a_statement_about_another_key_is_refused() {
    let other = Public::of(&Key::p256(8), AK_ATTRIBUTES);
    let ours = ours();
    let draft = Draft::with(|it| {
        it.statement.attested = certified(&other.name(), &ours.qualified_name(ENDORSEMENT));
    });
    assert_eq!(failures(&draft), ["tpm.certify.key.name"]);
    let draft = Draft::with(|it| {
        it.statement.attested = certified(&ours.name(), &ours.qualified_name(0x4000_0001));
    });
    assert_eq!(failures(&draft), ["tpm.certify.key.qualified_name"]);
}

#[test]
fn a_certified_public_area_of_another_form_is_refused() {
    let draft = Draft::with(|it| it.public.trailing = vec![0]);
    assert_eq!(failures(&draft), ["tpm.certify.key.public"]);
}

#[test]
fn every_single_bit_of_statement_signature_and_public_area_is_refused() {
    let (draft, key) = (Draft::good(), vouched());
    let good = draft.build();
    for part in 0..3 {
        let length = match part {
            0 => good.public.len(),
            1 => good.certify.len(),
            _ => good.signature.len(),
        };
        for bit in 0..length * 8 {
            let mut bytes = good.clone();
            let changed = match part {
                0 => &mut bytes.public,
                1 => &mut bytes.certify,
                _ => &mut bytes.signature,
            };
            changed[bit / 8] ^= 1 << (bit % 8);
            let appraisal = appraise(&bytes, ExpectedKey::Vouched(&key), &draft);
            assert!(appraisal.verified().is_none(), "part {part}, bit {bit}");
        }
    }
}
