//! What a file is, by its content: every form in which people have evidence.

#![expect(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_devices::azure::{Claims, Report};
use countersign_devices::der;
use countersign_devices::key::{Key, Rsa, Scheme};
use countersign_devices::rsa::Hash;
use countersign_devices::snp::{Draft, Kind, Product};
use countersign_devices::x509::{Certificate, Crl, Extension, common_name};
use countersign_verify::bare::{Piece, PieceError, Vendor, pieces, tpm_persisted, vendor};
use std::path::Path;

const NOW: u64 = 1_760_000_000_000;
const SCHEME: Scheme = Scheme::Ecdsa(Hash::Sha256);

fn certificate(name: &str) -> Vec<u8> {
    let key = Key::p256(1);
    let draft = Certificate {
        serial: vec![1],
        issuer: common_name("Issuer"),
        subject: common_name(name),
        not_before: NOW,
        not_after: NOW + 1000,
        key: key.spki(),
        extensions: vec![Extension::issuer(None)],
        scheme: SCHEME,
    };
    draft.sign(&key)
}

fn list(issuer: &str) -> Vec<u8> {
    let draft = Crl {
        issuer: common_name(issuer),
        this_update: NOW,
        next_update: Some(NOW + 1000),
        revoked: vec![],
        extensions: vec![],
        scheme: SCHEME,
    };
    draft.sign(&Key::p256(1))
}

type Make = fn(Vec<u8>) -> Piece;

fn one(bytes: &[u8]) -> Piece {
    let mut found = pieces(bytes).unwrap();
    assert_eq!(found.len(), 1);
    found.pop().unwrap()
}

fn capture(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("evidence/vectors");
    std::fs::read(directory.join(name)).unwrap()
}

fn armoured(label: &str, der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{digits}\n-----END {label}-----\n")
}

#[test]
fn a_piece_is_the_same_in_every_form() {
    let report = capture("snp/captured/milan-v2-virtee.report");
    let piece = Piece::SnpReport(report.clone());
    for form in [
        report.clone(),
        hex::encode(&report).into_bytes(),
        format!("0x{}\n", hex::encode(&report)).into_bytes(),
        STANDARD.encode(&report).into_bytes(),
        URL_SAFE_NO_PAD.encode(&report).into_bytes(),
        format!("{{\"report\":\"{}\"}}", hex::encode(&report)).into_bytes(),
        format!("{{\"snp_report\":{report:?}}}").into_bytes(),
        format!("{{\"quote\":\"{}\"}}", STANDARD.encode(&report)).into_bytes(),
    ] {
        assert_eq!(one(&form), piece);
    }
    assert_eq!(piece.into_bytes(), report);
}

#[test]
fn certificates_lists_and_keys_are_told_apart() {
    let (der, crl, spki) = (certificate("x"), list("x"), Key::p256(1).spki());
    for (bytes, label, piece) in [
        (&der, "CERTIFICATE", Piece::Certificate(der.clone())),
        (&crl, "X509 CRL", Piece::Crl(crl.clone())),
        (&spki, "PUBLIC KEY", Piece::Spki(spki.clone())),
    ] {
        assert_eq!(one(bytes), piece);
        assert_eq!(one(armoured(label, bytes).as_bytes()), piece);
    }
    let two = armoured("CERTIFICATE", &der) + &armoured("CERTIFICATE", &certificate("y"));
    assert_eq!(pieces(two.as_bytes()).unwrap().len(), 2);
    let private = armoured("PRIVATE KEY", &der);
    assert_eq!(pieces(private.as_bytes()), Err(PieceError::Unknown));
    let other = der::sequence(&[&der::number(1)]);
    assert_eq!(pieces(&other), Err(PieceError::Unknown));
}

#[test]
fn structures_of_a_tpm_are_known_by_their_first_bytes() {
    let known: [([u8; 4], Make); 4] = [
        ([0, 0x14, 0, 0x0b], Piece::Signature),
        ([0, 0x18, 0, 0x0c], Piece::Signature),
        ([0, 0x01, 0, 0x0b], Piece::TpmPublic),
        ([0, 0x23, 0, 0x0c], Piece::TpmPublic),
    ];
    for (first, make) in known {
        let bytes = [&first[..], &[7; 60]].concat();
        assert_eq!(one(&bytes), make(bytes.clone()));
    }
    let quote = [&[0xff][..], b"TCG", &[0x80, 0x18], &[0; 60]].concat();
    assert_eq!(one(&quote), Piece::Quote(quote.clone()));
    // A signature under another algorithm, and a statement of another kind.
    for wrong in [[0, 0x14, 0, 0x04], [0, 0x16, 0, 0x0b], [0, 0x08, 0, 0x0b]] {
        let bytes = [&wrong[..], &[0xff; 60]].concat();
        assert_eq!(pieces(&bytes), Err(PieceError::Unknown));
    }
    let json = format!("{{\"signature\":\"{}\"}}", hex::encode([9; 64]));
    assert_eq!(one(json.as_bytes()), Piece::RawSignature(vec![9; 64]));
}

#[test]
fn an_event_log_says_what_it_is() {
    let log = capture("eventlog/sb_cert_eventlog");
    assert_eq!(one(&log), Piece::EventLog(log.clone()));
    let mut other = log;
    other.iter_mut().skip(32).take(4).for_each(|b| *b = b'X');
    assert!(!matches!(
        pieces(&other).as_deref(),
        Ok([Piece::EventLog(_)])
    ));
}

#[test]
fn a_quote_of_intels_is_longer_than_its_parts_without_a_signature() {
    let quote = |tee: u8, length: usize| {
        let mut bytes = vec![0xfe; length];
        let head = [4, 0, 2, 0, tee, 0, 0, 0];
        bytes.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        pieces(&bytes).is_ok_and(|found| matches!(found.as_slice(), [Piece::TdxQuote(_)]))
    };
    for tee in [0, 0x81] {
        assert!(!quote(tee, 600) && quote(tee, 601), "{tee:02x}");
    }
    assert!(!quote(1, 601));
    // As long as a report of AMD's, and as such a report may begin.
    assert!(quote(0x81, 1184) && !quote(0, 1184));
}

#[test]
fn the_table_of_certificates_that_a_host_gives_is_read() {
    let evidence = Draft::new(Product::Milan, Kind::Vcek).build();
    // SPEC: GHCB 2.05, SNP Extended Guest Request: GUID, offset, length; the end is a GUID of zeros.
    let guid = [
        0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac,
        0xcd,
    ];
    let length = u32::try_from(evidence.key.len()).unwrap();
    let table = [
        &guid[..],
        &48_u32.to_le_bytes(),
        &length.to_le_bytes(),
        &[0; 24],
        &evidence.key,
    ]
    .concat();
    assert_eq!(one(&table), Piece::Certificate(evidence.key));
}

#[test]
fn answers_of_intels_service_are_told_apart_from_all_of_the_collateral() {
    let text = capture("tdx/dcap-qvl/tdx_quote_collateral.json");
    assert!(matches!(one(&text), Piece::Collateral(_)));
    assert!(matches!(one(b"{\"tcbInfo\":{}}"), Piece::TcbInfo(_)));
    assert!(matches!(
        one(b"{\"enclaveIdentity\":{}}"),
        Piece::QeIdentity(_)
    ));
    for half in ["tcb_info", "qe_identity"] {
        let text = format!("{{\"{half}\":\"x\"}}");
        assert_eq!(pieces(text.as_bytes()), Err(PieceError::Unknown), "{half}");
    }
    assert_eq!(pieces(b"{}"), Err(PieceError::Unknown));
    assert_eq!(pieces(b""), Err(PieceError::Empty));
}

#[test]
fn a_vendors_certificates_and_lists_are_known_by_their_names() {
    for (name, expected) in [
        ("SEV-VCEK", Some(Vendor::AmdVek)),
        ("SEV-VLEK", Some(Vendor::AmdVek)),
        ("SEV-Milan", Some(Vendor::AmdIssuer)),
        ("SEV-VLEK-Milan", Some(Vendor::AmdIssuer)),
        ("ARK-Milan", Some(Vendor::AmdRoot)),
        ("Intel SGX TCB Signing", Some(Vendor::IntelSigner)),
        ("Intel SGX Root CA", Some(Vendor::IntelRoot)),
        ("Intel SGX PCK Certificate", None),
        ("Somebody", None),
    ] {
        let piece = Piece::Certificate(certificate(name));
        assert_eq!(vendor(&piece), expected, "{name}");
    }
    for (name, expected) in [
        ("ARK-Genoa", Some(Vendor::AmdCrl)),
        ("Intel SGX Root CA", Some(Vendor::IntelRootCrl)),
        ("Intel SGX PCK Platform CA", Some(Vendor::IntelPckCrl)),
        ("Somebody", None),
    ] {
        assert_eq!(vendor(&Piece::Crl(list(name))), expected, "{name}");
    }
    assert_eq!(vendor(&Piece::TcbInfo(vec![])), Some(Vendor::IntelTcbInfo));
    assert_eq!(
        vendor(&Piece::QeIdentity(vec![])),
        Some(Vendor::IntelQeIdentity)
    );
    assert_eq!(vendor(&Piece::Spki(Key::rsa(Rsa::Tpm).spki())), None);
}

#[test]
fn whether_a_tpm_outlives_its_machine_is_what_azures_paravisor_says() {
    let said = |value: Option<&str>| {
        let mut claims = Claims::new(&Key::rsa(Rsa::Tpm), &Key::rsa(Rsa::Endorsement));
        claims.configure("tpm-persisted", value);
        tpm_persisted(&Report::snp(&claims.to_json()).to_bytes())
    };
    assert_eq!(said(Some("true")), Ok(Some(true)));
    assert_eq!(said(Some("false")), Ok(Some(false)));
    assert_eq!(said(None), Ok(None));
    assert!(tpm_persisted(b"HCLA").is_err());
}
