use countersign_devices::der;
use countersign_devices::google::{KeyChain, alternative_name, purpose};
use countersign_devices::key::{Key, Rsa, Scheme};
use countersign_devices::rsa::Hash;
use countersign_devices::tpm::{AK_ATTRIBUTES, Public};
use countersign_devices::x509::{self, Extension};
use proptest::prelude::*;

use super::*;
use crate::captures;
use crate::tpm::{
    ExpectedKey, KeySignature, PcrSet, PresentedKey, QuoteEvidence, QuotePolicy, Selection,
    appraise_quote,
};

const GOOGLE_ROOT: &[u8] = include_bytes!("../../../vectors/tpm/google/tpm_ek_root_1.cer");
const GOOGLE_INTERMEDIATE: &[u8] =
    include_bytes!("../../../vectors/tpm/google/tpm_ek_intermediate_2.crt");
/// 2021-10-01.
const THEN: Moment = Moment(1_633_046_400_000);
const AT: Moment = Moment(1_750_000_000_000);

/// A chain and its lists; every part is a test's to change.
#[derive(Clone)]
struct Draft {
    chain: KeyChain,
    lists: Vec<x509::Crl>,
    /// Who signs each list.
    list_keys: Vec<Key>,
    pinned: Key,
}

impl Draft {
    fn good() -> Self {
        let chain = KeyChain::of(&Key::rsa(Rsa::Tpm));
        let [root_key, issuer_key] = chain.keys.clone();
        let list = |issuer: &str| x509::Crl {
            issuer: x509::common_name(issuer),
            this_update: 1_749_000_000_000,
            next_update: Some(1_751_000_000_000),
            revoked: vec![],
            extensions: vec![Extension::crl_number(1)],
            scheme: Scheme::Pkcs1(Hash::Sha256),
        };
        Self {
            chain,
            lists: vec![list("issuer"), list("root")],
            list_keys: vec![issuer_key, root_key.clone()],
            pinned: root_key,
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut draft = Self::good();
        change(&mut draft);
        draft
    }

    fn roots(&self, kind: AkRootKind) -> AkRoots {
        AkRoots::of(vec![AkRoot {
            key: Sha384::digest(self.pinned.spki()).into(),
            kind,
        }])
    }

    fn build(&self) -> Bytes {
        let [certificate, issuer, root] = self.chain.build();
        Bytes {
            certificate,
            issuers: vec![issuer, root],
            lists: self
                .lists
                .iter()
                .zip(&self.list_keys)
                .map(|(list, key)| list.sign(key))
                .collect(),
        }
    }
}

#[derive(Clone)]
struct Bytes {
    certificate: Vec<u8>,
    issuers: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
}

impl Bytes {
    fn evidence(&self) -> AkEvidence<'_> {
        AkEvidence {
            certificate: &self.certificate,
            subject: CertifiedKey::Attestation,
            issuers: self.issuers.iter().map(Vec::as_slice).collect(),
            lists: self.lists.iter().map(Vec::as_slice).collect(),
        }
    }
}

fn appraise(bytes: &Bytes, policy: &AkPolicy, roots: &AkRoots, at: Moment) -> AkAppraisal {
    let appraisal = appraise_ak(&bytes.evidence(), policy, roots, at, &mut Chains::new());
    let listed: Vec<_> = appraisal.checks().iter().map(|it| it.code).collect();
    assert_eq!(listed, AkCheck::ALL);
    appraisal
}

fn codes(appraisal: &AkAppraisal) -> Vec<&'static str> {
    appraisal.failures().map(|it| it.code.as_str()).collect()
}

fn failures(draft: &Draft) -> Vec<&'static str> {
    let roots = draft.roots(AkRootKind::Google);
    let appraisal = appraise(&draft.build(), &AkPolicy::strict(), &roots, AT);
    assert_eq!(
        appraisal.verified().is_some(),
        appraisal.failures().next().is_none()
    );
    codes(&appraisal)
}

#[test]
fn a_certificate_vouches_for_a_key_on_the_word_of_who_holds_the_root() {
    let draft = Draft::good();
    for (kind, class, party) in [
        (
            AkRootKind::Google,
            EvidenceClass::HypervisorTpm,
            Party::GoogleHypervisor,
        ),
        (
            AkRootKind::Manufacturer,
            EvidenceClass::DiscreteTpm,
            Party::TpmManufacturer(PartyName::parse("id:474F4F47").unwrap()),
        ),
    ] {
        let policy = AkPolicy::strict();
        let appraisal = appraise(&draft.build(), &policy, &draft.roots(kind), AT);
        assert_eq!(codes(&appraisal), [""; 0]);
        let verified = appraisal.verified().unwrap();
        assert_eq!(verified.key().class(), class);
        assert_eq!(verified.key().parties(), [party]);
        assert_eq!(
            verified.instance(),
            Some(&Instance {
                zone: "us-central1-a".into(),
                project: "project".into(),
                project_number: 117,
                name: "machine".into(),
                instance: 42,
            })
        );
    }
}

#[test]
fn a_captured_certificate_of_google_vouches_for_the_key_of_a_captured_quote() {
    let capture = captures::gce();
    let bytes = Bytes {
        certificate: capture.certificate.clone(),
        issuers: vec![GOOGLE_INTERMEDIATE.to_vec(), GOOGLE_ROOT.to_vec()],
        lists: vec![],
    };
    let policy = AkPolicy {
        activated: vec![],
        lists: Demand::Any,
        instances: Some(vec![InstanceId {
            project: "google.com:wuale-gcp-testing".into(),
            instance: 6_797_026_933_021_542_085,
        }]),
    };
    let appraisal = appraise(&bytes, &policy, &AkRoots::google(), THEN);
    assert_eq!(codes(&appraisal), [""; 0]);
    let vouched = appraisal.verified().unwrap().key();
    assert_eq!(vouched.class(), EvidenceClass::HypervisorTpm);
    // Of three banks one is SHA-256.
    for (number, (quote, signature)) in capture.quotes.iter().enumerate() {
        for key in [
            PresentedKey::Public(&capture.public),
            PresentedKey::Plain(vouched.key()),
        ] {
            let evidence = QuoteEvidence {
                key,
                quote,
                signature: KeySignature::Tpmt(signature),
                pcrs: capture.pcrs.clone(),
                event_log: Some(&capture.event_log),
            };
            let policy = QuotePolicy {
                key: ExpectedKey::Vouched(vouched),
                qualifying: Some(vec![]),
                pcrs: PcrSet::new([0, 4, 5, 7, 8, 9]).unwrap(),
                selection: Selection::AtLeast,
                firmware_floor: None,
            };
            let appraisal = appraise_quote(&evidence, &policy);
            let verified = appraisal.verified().map(|it| it.class());
            let expected = (number == 1).then_some(EvidenceClass::HypervisorTpm);
            assert_eq!(verified, expected, "{:?}", appraisal.checks());
            // What the kernel measures while it runs, PCR 10, is in no log of the firmware's.
            let with_ima = QuotePolicy {
                pcrs: PcrSet::new([0, 4, 10]).unwrap(),
                ..policy
            };
            assert!(appraise_quote(&evidence, &with_ima).verified().is_none());
        }
    }
    // Lists of Google's were not captured, and a strict policy asks for them.
    let strict = appraise(&bytes, &AkPolicy::strict(), &AkRoots::google(), THEN);
    assert_eq!(codes(&strict), ["tpm.chain.revocation"]);
    let early = appraise(
        &bytes,
        &policy,
        &AkRoots::google(),
        Moment(1_630_000_000_000),
    );
    assert_eq!(codes(&early), ["tpm.chain.validity"]);
}

#[test]
fn every_single_bit_of_a_captured_certificate_is_refused() {
    let good = captures::gce().certificate;
    let policy = AkPolicy {
        lists: Demand::Any,
        ..AkPolicy::strict()
    };
    let (roots, mut chains) = (AkRoots::google(), Chains::new());
    for bit in 0..good.len() * 8 {
        let mut certificate = good.clone();
        certificate[bit / 8] ^= 1 << (bit % 8);
        let evidence = AkEvidence {
            certificate: &certificate,
            subject: CertifiedKey::Attestation,
            issuers: vec![GOOGLE_INTERMEDIATE, GOOGLE_ROOT],
            lists: vec![],
        };
        let appraisal = appraise_ak(&evidence, &policy, &roots, THEN, &mut chains);
        assert!(appraisal.verified().is_none(), "bit {bit}");
    }
}

#[test]
fn pinned_keys_are_those_of_the_certificates_beside_them() {
    let newer: &[u8] = include_bytes!("../../../vectors/tpm/google/gcp_ek_ak_ca_root.crt");
    for root in [GOOGLE_ROOT, newer] {
        let certificate = Certificate::parse(root).unwrap();
        assert!(AkRoots::google().kind_of(certificate.spki()).is_some());
        assert!(certificate.issued(&certificate, 0).is_ok());
    }
    let between: &[u8] =
        include_bytes!("../../../vectors/tpm/google/gcp_ek_ak_ca_intermediate_v3.crt");
    let newer = Certificate::parse(newer).unwrap();
    let between = Certificate::parse(between).unwrap();
    assert!(newer.issued(&between, 0).is_ok());
    assert!(AkRoots::google().kind_of(between.spki()).is_none());
}

#[test]
fn malformed_and_too_many_certificates_are_refused() {
    let draft = Draft::good();
    let roots = draft.roots(AkRootKind::Google);
    let changes: [fn(&mut Bytes); 5] = [
        |it| it.certificate.push(0),
        |it| it.issuers[0].push(0),
        |it| it.lists[0].push(0),
        |it| it.issuers = vec![it.issuers[0].clone(); 5],
        |it| it.lists = vec![it.lists[0].clone(); 5],
    ];
    for change in changes {
        let mut bytes = draft.build();
        change(&mut bytes);
        let appraisal = appraise(&bytes, &AkPolicy::strict(), &roots, AT);
        assert_eq!(codes(&appraisal), ["tpm.chain.structure"]);
        assert!(appraisal.verified().is_none());
    }
}

#[test]
fn four_issuers_and_as_many_lists_are_read() {
    let draft = Draft::good();
    let roots = draft.roots(AkRootKind::Google);
    let mut bytes = draft.build();
    bytes.lists.extend(draft.build().lists);
    let appraisal = appraise(&bytes, &AkPolicy::strict(), &roots, AT);
    assert_eq!(codes(&appraisal), [""; 0]);
    // Two of them issued nothing of the chain, which is another check's to say.
    bytes.issuers.extend(draft.build().issuers);
    let appraisal = appraise(&bytes, &AkPolicy::strict(), &roots, AT);
    assert!(!codes(&appraisal).contains(&"tpm.chain.structure"));
}

#[test]
fn an_issuer_that_did_not_or_may_not_issue_is_refused() {
    let changes: [fn(&mut Draft); 5] = [
        |it| it.chain.keys[1] = Key::rsa(Rsa::Tpm),
        // Whoever has the pinned key's public half can make up a certificate around it.
        |it| it.chain.root_by = Key::rsa(Rsa::Tpm),
        |it| it.chain.issuer.extensions[0] = Extension::no_issuer(),
        |it| it.chain.leaf.issuer = x509::common_name("other"),
        |it| it.chain.root.extensions[0] = Extension::issuer(Some(0)),
    ];
    for change in changes {
        let mut draft = Draft::good();
        change(&mut draft);
        assert_eq!(failures(&draft), ["tpm.chain.path"]);
    }
    let (draft, mut bytes) = (Draft::good(), Draft::good().build());
    bytes.issuers.swap(0, 1);
    let roots = draft.roots(AkRootKind::Google);
    let appraisal = appraise(&bytes, &AkPolicy::strict(), &roots, AT);
    assert_eq!(codes(&appraisal)[..2], ["tpm.chain.path", "tpm.chain.root"]);
    bytes.issuers.clear();
    let appraisal = appraise(&bytes, &AkPolicy::strict(), &roots, AT);
    assert_eq!(codes(&appraisal)[..2], ["tpm.chain.path", "tpm.chain.root"]);
}

#[test]
fn a_root_that_is_not_pinned_is_refused_and_an_empty_list_pins_none() {
    let draft = Draft::with(|it| it.pinned = Key::rsa(Rsa::Endorsement));
    assert_eq!(failures(&draft), ["tpm.chain.root"]);
    let bytes = Draft::good().build();
    for roots in [AkRoots::of(vec![]), AkRoots::google()] {
        let appraisal = appraise(&bytes, &AkPolicy::strict(), &roots, AT);
        assert_eq!(codes(&appraisal), ["tpm.chain.root"]);
    }
}

#[test]
fn each_certificate_has_to_be_valid_at_the_time() {
    let changes: [fn(&mut Draft); 4] = [
        |it| it.chain.leaf.not_after = 1_749_000_000_000,
        |it| it.chain.leaf.not_before = 1_751_000_000_000,
        |it| it.chain.issuer.not_after = 1_749_000_000_000,
        |it| it.chain.root.not_after = 1_749_000_000_000,
    ];
    for change in changes {
        let mut draft = Draft::good();
        change(&mut draft);
        assert_eq!(failures(&draft), ["tpm.chain.validity"]);
    }
}

#[test]
fn lists_are_signed_current_and_name_nothing_of_the_chain() {
    let changes: [fn(&mut Draft); 7] = [
        |it| it.lists[0].next_update = Some(1_749_500_000_000),
        |it| it.lists[0].this_update = 1_750_500_000_000,
        |it| it.list_keys[0] = Key::rsa(Rsa::Tpm),
        |it| it.lists[0].revoked = vec![(vec![3], 1_749_000_000_000)],
        |it| it.lists[1].revoked = vec![(vec![2], 1_749_000_000_000)],
        |it| {
            it.lists.pop();
        },
        |it| {
            it.lists.remove(0);
            it.list_keys.remove(0);
        },
    ];
    for change in changes {
        let mut draft = Draft::good();
        change(&mut draft);
        assert_eq!(failures(&draft), ["tpm.chain.revocation"]);
    }
    let other = Draft::with(|it| it.lists[0].revoked = vec![(vec![9], 1_749_000_000_000)]);
    assert_eq!(failures(&other), [""; 0]);
}

#[test]
fn a_list_that_nobody_asks_for_still_says_what_it_says() {
    let draft = Draft::with(|it| it.lists[0].revoked = vec![(vec![3], 1_749_000_000_000)]);
    let any = AkPolicy {
        lists: Demand::Any,
        ..AkPolicy::strict()
    };
    let roots = draft.roots(AkRootKind::Google);
    let appraisal = appraise(&draft.build(), &any, &roots, AT);
    assert_eq!(codes(&appraisal), ["tpm.chain.revocation"]);
    let mut silent = draft.build();
    silent.lists.clear();
    let appraisal = appraise(&silent, &any, &roots, AT);
    assert_eq!(codes(&appraisal), [""; 0]);
    assert!(appraisal.verified().is_some());
    // Of no lists nobody can say that they name no certificate.
    let of_lists = |it: &&Check<AkCheck>| it.code == AkCheck::Revocation;
    let check = appraisal.checks().iter().find(of_lists).unwrap();
    assert_eq!(check.outcome, Outcome::NotChecked);
}

#[test]
fn a_certificate_for_something_else_is_refused() {
    let changes: [fn(&mut Draft); 8] = [
        |it| it.chain.leaf.extensions[0] = Extension::issuer(None),
        // digitalSignature, and the ninth bit: decipherOnly.
        |it| it.chain.leaf.extensions[1].value = vec![3, 3, 7, 0x80, 0x80],
        |it| it.chain.leaf.extensions[1] = Extension::usage(0x20),
        |it| it.chain.leaf.extensions[1] = Extension::usage(0xa0),
        |it| {
            it.chain.leaf.extensions.remove(1);
        },
        |it| it.chain.leaf.extensions[2] = purpose("2"),
        |it| {
            it.chain.leaf.extensions.remove(2);
        },
        |it| {
            let unknown = Extension::critical("1.2.3", vec![5, 0]);
            it.chain.leaf.extensions.push(unknown);
        },
    ];
    for change in changes {
        let mut draft = Draft::good();
        change(&mut draft);
        assert_eq!(failures(&draft), ["tpm.chain.purpose"]);
    }
    assert_eq!(
        failures(&Draft::with(|it| it.chain.leaf.extensions[2] = purpose("3"))),
        [""; 0]
    );
}

#[test]
fn a_certificate_that_names_no_maker_is_refused() {
    let maker = ("2.23.133.2.1", "id:474F4F47");
    for value in [
        alternative_name(&[("2.23.133.2.2", "vTPM")]),
        alternative_name(&[maker, maker]),
        alternative_name(&[("2.23.133.2.1", "")]),
        alternative_name(&[("2.23.133.2.1", "a maker")]),
        der::sequence(&[&der::ia5("x")]),
        vec![],
    ] {
        let draft = Draft::with(|it| it.chain.leaf.extensions[3].value = value);
        assert_eq!(failures(&draft), ["tpm.chain.maker"]);
    }
    let draft = Draft::with(|it| {
        it.chain.leaf.extensions.remove(3);
    });
    assert_eq!(failures(&draft), ["tpm.chain.maker"]);
}

#[test]
fn machines_that_are_named_are_the_only_ones() {
    let draft = Draft::good();
    let roots = draft.roots(AkRootKind::Google);
    let id = |project: &str, instance| InstanceId {
        project: project.into(),
        instance,
    };
    for (instances, expected) in [
        (vec![id("project", 42)], vec![]),
        (vec![], vec!["tpm.chain.instance"]),
        (
            vec![id("project", 43), id("other", 42)],
            vec!["tpm.chain.instance"],
        ),
    ] {
        let policy = AkPolicy {
            instances: Some(instances),
            ..AkPolicy::strict()
        };
        let appraisal = appraise(&draft.build(), &policy, &roots, AT);
        assert_eq!(codes(&appraisal), expected);
    }
    let silent = Draft::with(|it| {
        it.chain.leaf.extensions.pop();
    });
    assert_eq!(failures(&silent), [""; 0]);
    let policy = AkPolicy {
        instances: Some(vec![id("project", 42)]),
        ..AkPolicy::strict()
    };
    let appraisal = appraise(&silent.build(), &policy, &roots, AT);
    assert_eq!(codes(&appraisal), ["tpm.chain.instance"]);
    let malformed = Draft::with(|it| it.chain.leaf.extensions[4].value.push(0));
    assert_eq!(failures(&malformed), ["tpm.chain.instance"]);
}

#[test]
fn a_key_that_no_tpm_attests_with_is_refused() {
    let mut spki = Key::p256(3).spki();
    *spki.last_mut().unwrap() ^= 1;
    let draft = Draft::with(|it| it.chain.leaf.key = spki);
    assert_eq!(failures(&draft), ["tpm.chain.key"]);
}

/// A certificate of an endorsement key, beside an attestation key of the same TPM.
fn endorsement(draft: &Draft, public: &[u8], activated: &[(&Key, KeyName)]) -> AkAppraisal {
    let (bytes, roots) = (draft.build(), draft.roots(AkRootKind::Manufacturer));
    let evidence = AkEvidence {
        subject: CertifiedKey::Endorsement(public),
        ..bytes.evidence()
    };
    let activated = activated.iter().map(|(key, name)| Activation {
        endorsement_key: Sha384::digest(key.spki()).into(),
        attestation_key: *name,
    });
    let policy = AkPolicy {
        activated: activated.collect(),
        ..AkPolicy::strict()
    };
    let appraisal = appraise_ak(&evidence, &policy, &roots, AT, &mut Chains::new());
    let listed: Vec<_> = appraisal.checks().iter().map(|it| it.code).collect();
    assert_eq!(listed, AkCheck::ALL);
    appraisal
}

#[test]
fn an_endorsement_keys_certificate_vouches_for_what_the_policy_says_was_activated() {
    let public = Public::of(&Key::p256(7), AK_ATTRIBUTES).to_bytes();
    let name = TpmKey::parse(&public).unwrap().name();
    let other = TpmKey::parse(&Public::of(&Key::p256(8), AK_ATTRIBUTES).to_bytes())
        .unwrap()
        .name();
    let key = Key::rsa(Rsa::Tpm);
    for usage in [0x20, 0x08] {
        let draft = Draft::with(|it| it.chain.leaf.extensions[1] = Extension::usage(usage));
        let appraisal = endorsement(&draft, &public, &[(&key, name)]);
        assert_eq!(codes(&appraisal), [""; 0]);
        let verified = appraisal.verified().unwrap().key();
        assert_eq!(verified.name(), Some(name));
        assert_eq!(verified.class(), EvidenceClass::DiscreteTpm);
        // Nobody saw it; another key; under another endorsement key.
        let elsewhere = Key::rsa(Rsa::Other);
        for activated in [&[][..], &[(&key, other)], &[(&elsewhere, name)]] {
            let appraisal = endorsement(&draft, &public, activated);
            assert_eq!(codes(&appraisal), ["tpm.chain.activation"]);
            assert!(appraisal.verified().is_none());
        }
    }
}

#[test]
fn beside_an_endorsement_keys_certificate_the_attestation_key_is_one() {
    let draft = Draft::with(|it| it.chain.leaf.extensions[1] = Extension::usage(0x20));
    let key = Key::rsa(Rsa::Tpm);
    let unrestricted = Public::of(&Key::p256(7), 0x0004_0472).to_bytes();
    for public in [&unrestricted[..], &[]] {
        let activated: Vec<_> = TpmKey::parse(public)
            .iter()
            .map(|it| (&key, it.name()))
            .collect();
        let appraisal = endorsement(&draft, public, &activated);
        assert_eq!(codes(&appraisal), ["tpm.chain.key"]);
        assert!(appraisal.verified().is_none());
    }
    // An attestation key's certificate is none of an endorsement key, and the other way round.
    let public = Public::of(&Key::p256(7), AK_ATTRIBUTES).to_bytes();
    let name = TpmKey::parse(&public).unwrap().name();
    let appraisal = endorsement(&Draft::good(), &public, &[(&key, name)]);
    assert_eq!(codes(&appraisal), ["tpm.chain.purpose"]);
    let aik = Draft::with(|it| {
        it.chain.leaf.extensions[1] = Extension::usage(0x20);
        it.chain.leaf.extensions[2] = purpose("3");
    });
    let appraisal = endorsement(&aik, &public, &[(&key, name)]);
    assert_eq!(codes(&appraisal), ["tpm.chain.purpose"]);
    assert_eq!(failures(&draft), ["tpm.chain.purpose"]);
}

#[test]
fn every_single_bit_of_certificates_and_lists_is_refused() {
    // Shorter keys, for the sake of time.
    let draft = Draft::with(|it| {
        let (root, issuer) = (Key::rsa(Rsa::Endorsement), Key::rsa(Rsa::Tpm));
        it.chain.root.key = root.spki();
        it.chain.issuer.key = issuer.spki();
        it.chain.leaf.key = Key::p256(3).spki();
        it.chain.root_by = root.clone();
        it.chain.keys = [root.clone(), issuer.clone()];
        it.list_keys = vec![issuer, root.clone()];
        it.pinned = root;
    });
    assert_eq!(failures(&draft), [""; 0]);
    let (good, roots) = (draft.build(), draft.roots(AkRootKind::Google));
    let mut chains = Chains::new();
    for part in 0..5 {
        let length = match part {
            0 => good.certificate.len(),
            1 | 2 => good.issuers[part - 1].len(),
            _ => good.lists[part - 3].len(),
        };
        for bit in 0..length * 8 {
            let mut bytes = good.clone();
            let changed = match part {
                0 => &mut bytes.certificate,
                1 | 2 => &mut bytes.issuers[part - 1],
                _ => &mut bytes.lists[part - 3],
            };
            changed[bit / 8] ^= 1 << (bit % 8);
            let policy = AkPolicy::strict();
            let appraisal = appraise_ak(&bytes.evidence(), &policy, &roots, AT, &mut chains);
            assert!(appraisal.verified().is_none(), "part {part}, bit {bit}");
        }
    }
}

#[test]
fn a_second_appraisal_at_another_time_verifies_no_signature_again() {
    let draft = Draft::good();
    let (bytes, roots) = (draft.build(), draft.roots(AkRootKind::Google));
    let mut chains = Chains::new();
    let mut at = |at| {
        let policy = AkPolicy::strict();
        let appraisal = appraise_ak(&bytes.evidence(), &policy, &roots, at, &mut chains);
        (codes(&appraisal), chains.remembered())
    };
    assert_eq!(at(AT), (vec![], 5));
    let later = Moment(1_790_000_000_000);
    assert_eq!(at(later), (vec!["tpm.chain.revocation"], 5));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(certificate: Vec<u8>, issuer: Vec<u8>, list: Vec<u8>, name: Vec<u8>) {
        let bytes = Bytes { certificate, issuers: vec![issuer], lists: vec![list] };
        let appraisal = appraise(&bytes, &AkPolicy::strict(), &AkRoots::google(), AT);
        prop_assert!(appraisal.verified().is_none());
        let _ = (maker_of(&name), instance_of(&name));
    }
}
