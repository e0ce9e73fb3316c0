//! What it costs to appraise a quote of TDX with its collateral, in one run beside
//!
//! - nine signatures of P-256 alone, over the quote's signed bytes: as many as its chains, lists and statements have;
//! - `dcap-qvl`, which verifies the same quote with the same collateral.
//!
//! `cargo run --release --bin tdx -- [ROUNDS]`. Quote and collateral are captured ones of June 2025.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign_evidence::Moment;
use countersign_evidence::chains::Chains;
use countersign_evidence::tdx::{
    Collateral, Flags, Policy, ReportData, Roots, TdxEvidence, appraise_tdx, without_padding,
};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::verify::QuoteVerifier;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256};

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!(
            "../../../../verifier/evidence/vectors/tdx/dcap-qvl/",
            $name
        ))
        .as_slice()
    };
}

const COLLATERAL: &[u8] = vector!("tdx_quote_collateral.json");

/// 2025-06-25.
const AT: Moment = Moment(1_750_809_600_000);

/// Where the body of a quote of version 4 ends.
const SIGNED: usize = 48 + 584;

const SIGNATURES: usize = 9;

fn main() {
    let rounds: u32 = std::env::args()
        .nth(1)
        .and_then(|a| a.parse().ok())
        .unwrap_or(300);
    let quote = without_padding(vector!("tdx_quote")).unwrap();
    let collateral = Collateral::from_json(COLLATERAL).unwrap();
    let report_data = quote[SIGNED - 64..SIGNED].try_into().unwrap();
    let policy = Policy {
        flags: Flags::ANY,
        ..Policy::strict(ReportData(report_data))
    };
    let roots = Roots::intel();
    let whole = |chains: &mut Chains, at| {
        let appraisal = appraise_tdx(
            &evidence(black_box(quote), &collateral),
            &policy,
            &roots,
            at,
            chains,
        );
        assert!(appraisal.verified().is_some());
    };
    // All but the quote's own signature.
    let chain_alone = || {
        let mut other = quote.to_vec();
        other[SIGNED - 1] ^= 1;
        let mut chains = Chains::new();
        let appraisal = appraise_tdx(
            &evidence(&other, &collateral),
            &policy,
            &roots,
            AT,
            &mut chains,
        );
        assert!(appraisal.verified().is_none());
        assert_eq!(chains.remembered(), SIGNATURES - 1);
        chains
    };

    let key = [&[4], &quote[SIGNED + 4 + 64..SIGNED + 4 + 128]].concat();
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&key).unwrap();
    let signature = &quote[SIGNED + 4..SIGNED + 4 + 64];
    let bare = |times: usize| {
        for _ in 0..times {
            let signature = p256::ecdsa::Signature::from_slice(black_box(signature)).unwrap();
            let digest = Sha256::digest(black_box(&quote[..SIGNED]));
            assert!(key.verify_prehash(&digest, &signature).is_ok());
        }
    };

    let qvl = QuoteVerifier::new_prod();
    let theirs: QuoteCollateralV3 = serde_json::from_slice(COLLATERAL).unwrap();
    let qvl = || assert!(qvl.verify(black_box(quote), &theirs, AT.0 / 1000).is_ok());

    // Taken in turn, so that whatever else the machine does falls on all of them.
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut time = |name, run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        times.entry(name).or_default().push(start.elapsed());
    };
    for _ in 0..rounds {
        time(BARE, &mut || bare(SIGNATURES));
        time(BARE_ONE, &mut || bare(1));
        let mut chains = Chains::new();
        time(WHOLE, &mut || whole(&mut chains, AT));
        time("5 appraisal, another moment", &mut || {
            whole(&mut chains, Moment(AT.0 + 1));
        });
        let mut chains = chain_alone();
        time(KNOWN, &mut || whole(&mut chains, AT));
        time(QVL, &mut || qvl());
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
        "appraisal / bare: {:.3}; with the chains known / bare: {:.3}; dcap-qvl / appraisal: {:.3}",
        ratio(WHOLE, BARE),
        ratio(KNOWN, BARE_ONE),
        ratio(QVL, WHOLE),
    );
}

fn evidence<'a>(quote: &'a [u8], collateral: &'a Collateral) -> TdxEvidence<'a> {
    TdxEvidence {
        quote,
        collateral: Some(collateral),
        event_log: None,
    }
}

const BARE: &str = "1 bare: 9 of p-256";
const BARE_ONE: &str = "2 bare: 1 of p-256";
const WHOLE: &str = "3 appraisal, nothing known";
const KNOWN: &str = "4 appraisal, chains known";
const QVL: &str = "6 dcap-qvl 0.7.1 (rustcrypto)";
