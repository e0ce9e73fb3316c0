//! What it costs to appraise an SEV-SNP report with its chain, in one run beside
//!
//! - the four signatures alone, by the same code, over slices that were cut beforehand: what nobody can do without;
//! - the `sev` crate, which checks the same four signatures and little else.
//!
//! `cargo run --release --bin snp -- [ROUNDS]`. The report is a captured one of Azure (Milan, version 3).

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign_certificates::algorithm::Hash;
use countersign_certificates::der::{Reader, SEQUENCE};
use countersign_certificates::rsa::RsaKey;
use countersign_certificates::{Certificate, algorithm::Key};
use countersign_evidence::Moment;
use countersign_evidence::chains::Chains;
use countersign_evidence::snp::{
    Policy, Product, ProductPolicy, Report, ReportData, Requirement, Roots, SnpEvidence,
    appraise_snp,
};
use p384::ecdsa::signature::hazmat::PrehashVerifier as _;
use sev::certs::snp::{Certificate as SevCertificate, Chain, Verifiable as _, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;
use sha2::{Digest as _, Sha384};

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../verifier/evidence/vectors/snp/", $name)).as_slice()
    };
}

const EVIDENCE: SnpEvidence<'static> = SnpEvidence {
    report: vector!("captured/milan-v3-azure-b.report"),
    key: vector!("captured/milan-v3-azure-b.der"),
    issuer: vector!("roots/milan-ask.der"),
    root: vector!("roots/milan-ark.der"),
    crl: None,
};

/// 2025-06-15.
const AT: Moment = Moment(1_750_000_000_000);

fn main() {
    let rounds: u32 = std::env::args()
        .nth(1)
        .and_then(|a| a.parse().ok())
        .unwrap_or(300);
    let report = Report::parse(EVIDENCE.report).unwrap();
    let policy = Policy {
        revocation: Requirement::Optional,
        ..Policy::strict(
            ReportData(*report.report_data()),
            BTreeMap::from([(Product::Milan, ProductPolicy::default())]),
        )
    };
    let roots = Roots::amd();
    let whole = |chains: &mut Chains, at| {
        let appraisal = appraise_snp(black_box(&EVIDENCE), &policy, &roots, at, chains);
        assert!(appraisal.verified().is_some());
    };
    let bare = Bare::new();
    let sev = SevInput::new();

    // Taken in turn, so that whatever else the machine does falls on all of them.
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut time = |name, run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        times.entry(name).or_default().push(start.elapsed());
    };
    for _ in 0..rounds {
        time("1 bare: 3 of rsa 4096, 1 of p-384", &mut || bare.verify());
        time("2 bare: 1 of p-384", &mut || bare.verify_report());
        let mut chains = Chains::new();
        time("3 appraisal, nothing known", &mut || whole(&mut chains, AT));
        time("5 appraisal, another moment", &mut || {
            whole(&mut chains, Moment(AT.0 + 1))
        });
        let mut chains = chain_alone();
        time("4 appraisal, chain known", &mut || whole(&mut chains, AT));
        time("6 sev 8.0.0 (crypto_nossl)", &mut || sev.verify());
    }
    let median = |name: &str| {
        let mut list = times[name].clone();
        list.sort();
        list[list.len() / 2]
    };
    println!("{rounds} rounds, median; the fastest in brackets");
    for (name, list) in &times {
        let fastest = list.iter().min().unwrap();
        println!("{name:<36} {:>8.1?} ({fastest:.1?})", median(name));
    }
    let ratio = |a: &str, b: &str| median(a).as_secs_f64() / median(b).as_secs_f64();
    println!(
        "appraisal / bare: {:.3}; with the chain known / bare p-384: {:.3}; sev / appraisal: {:.3}",
        ratio(
            "3 appraisal, nothing known",
            "1 bare: 3 of rsa 4096, 1 of p-384"
        ),
        ratio("4 appraisal, chain known", "2 bare: 1 of p-384"),
        ratio("6 sev 8.0.0 (crypto_nossl)", "3 appraisal, nothing known"),
    );
}

/// A memory of the chain and not of the report: of a report whose signature does not hold.
fn chain_alone() -> Chains {
    let mut report = EVIDENCE.report.to_vec();
    report[0x50] ^= 1;
    let evidence = SnpEvidence {
        report: &report,
        ..EVIDENCE
    };
    let policy = Policy::strict(ReportData([1; 64]), BTreeMap::new());
    let mut chains = Chains::new();
    let appraisal = appraise_snp(&evidence, &policy, &Roots::amd(), AT, &mut chains);
    assert!(appraisal.verified().is_none());
    assert_eq!(chains.remembered(), 3);
    chains
}

/// Keys, messages and signatures, cut and read beforehand.
struct Bare {
    links: Vec<(RsaKey, &'static [u8], &'static [u8])>,
    key: p384::ecdsa::VerifyingKey,
}

impl Bare {
    fn new() -> Self {
        let pairs = [
            (EVIDENCE.root, EVIDENCE.root),
            (EVIDENCE.root, EVIDENCE.issuer),
            (EVIDENCE.issuer, EVIDENCE.key),
        ];
        let links = pairs.map(|(issuer, subject)| {
            let Key::Rsa(key) = Certificate::parse(issuer).unwrap().key("issuer").unwrap() else {
                panic!("amd's issuers have keys of rsa");
            };
            let mut parts = Reader::new(subject).sequence("Certificate").unwrap();
            let message = parts.expect(SEQUENCE, "TBSCertificate").unwrap().whole;
            parts.sequence("signatureAlgorithm").unwrap();
            (*key, message, parts.bits("signature").unwrap())
        });
        let certificate = Certificate::parse(EVIDENCE.key).unwrap();
        let Key::P384(key) = certificate.key("signing key").unwrap() else {
            panic!("amd's signing keys are of p-384");
        };
        Self {
            links: links.to_vec(),
            key,
        }
    }

    fn verify(&self) {
        for (key, message, signature) in &self.links {
            assert!(
                key.verify_pss(Hash::Sha384, black_box(message), signature)
                    .is_ok()
            );
        }
        self.verify_report();
    }

    fn verify_report(&self) {
        let report = black_box(EVIDENCE.report);
        let number = |at: usize| -> Vec<u8> { report[at..at + 48].iter().rev().copied().collect() };
        let both = [number(0x2a0), number(0x2e8)].concat();
        let signature = p384::ecdsa::Signature::from_slice(&both).unwrap();
        let digest = Sha384::digest(&report[..0x2a0]);
        assert!(self.key.verify_prehash(&digest, &signature).is_ok());
    }
}

/// What `sev` takes. It reads certificates and report each time, as ours does.
struct SevInput;

impl SevInput {
    fn new() -> Self {
        let input = Self;
        input.verify();
        input
    }

    fn verify(&self) {
        let read = |der| SevCertificate::from_der(black_box(der)).unwrap();
        let chain = Chain {
            ca: ca::Chain {
                ark: read(EVIDENCE.root),
                ask: read(EVIDENCE.issuer),
            },
            vek: read(EVIDENCE.key),
        };
        let report = AttestationReport::from_bytes(EVIDENCE.report).unwrap();
        assert!((&chain, &report).verify().is_ok());
    }
}
