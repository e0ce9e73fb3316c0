//! Chains in the forms in which people have them.

use countersign_certificates::pem;
use proptest::prelude::*;

use super::*;

const GUIDS: [&str; 5] = [
    "63da758de6644564adc5f4b93be8accd",
    "4ab7b379bbac4fe4a02f05aef327c782",
    "c0b406a4a80349529743 3fb6014cd0ae",
    "92f81bc358114d3d97ffd19f88dc67ea",
    "a8074bc2a25a483eaae639c045a0b8a1",
];

fn guid(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

fn mixed(guid: &[u8]) -> Vec<u8> {
    [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
        .map(|place| guid[place])
        .to_vec()
}

/// A table as a host makes it: heads, a head of zeros, the bytes, zeros to the end of a page.
fn table(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut at = (entries.len() + 1) * 24;
    let mut heads = Vec::new();
    let mut bodies = Vec::new();
    for (guid, body) in entries {
        heads.extend_from_slice(guid);
        heads.extend(u32::try_from(at).unwrap().to_le_bytes());
        heads.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        bodies.extend_from_slice(body);
        at += body.len();
    }
    let mut out = [heads, vec![0; 24], bodies].concat();
    out.resize(out.len().next_multiple_of(4096), 0);
    out
}

fn built() -> fake::Evidence {
    Draft::new(fake::Product::Milan, Kind::Vcek).build()
}

fn host_table(built: &fake::Evidence, order: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let parts = [
        &built.key,
        &built.issuer,
        &built.root,
        built.crl.as_ref().unwrap(),
    ];
    let entries: Vec<(Vec<u8>, Vec<u8>)> = GUIDS
        .iter()
        .zip(parts)
        .map(|(text, part)| (order(&guid(text)), part.clone()))
        .collect();
    table(&entries)
}

fn to_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let digits = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = digits
        .as_bytes()
        .chunks(64)
        .map(|line| core::str::from_utf8(line).unwrap())
        .collect();
    let label = pem::CERTIFICATE;
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[test]
fn a_hosts_table_is_read_in_either_order_of_an_identifiers_bytes() {
    let built = built();
    for order in [<[u8]>::to_vec, mixed] {
        let bytes = host_table(&built, order);
        let table = CertificateTable::parse(&bytes).unwrap();
        assert_eq!(table.count(), 4);
        let contents: Vec<&[u8]> = table.contents().collect();
        let crl = built.crl.as_ref().unwrap();
        assert_eq!(contents, [&built.key, &built.issuer, &built.root, crl]);
        let certificates = SnpCertificates::from_table(&table, &[]).unwrap();
        let evidence = certificates.beside(&built.report);
        let policy = full_policy(Product::Milan);
        let roots = roots(Product::Milan);
        let appraisal = appraise_snp(&evidence, &policy, &roots, AT, &mut Chains::new());
        assert!(appraisal.verified().is_some());
    }
}

#[test]
fn a_table_with_the_key_alone_is_filled_up_with_other_certificates() {
    let built = built();
    let bytes = table(&[(guid(GUIDS[0]), built.key.clone())]);
    let table = CertificateTable::parse(&bytes).unwrap();
    let more = [built.root.clone(), built.issuer.clone()];
    let found = SnpCertificates::from_table(&table, &more).unwrap();
    assert_eq!(
        (found.key, found.issuer, found.root, found.crl),
        (built.key, built.issuer, built.root, None)
    );
    let none = SnpCertificates::from_table(&table, &[]);
    let missing = SnpCertificatesError::NotOne {
        what: "the signing key's issuer",
        found: 0,
    };
    assert_eq!(none, Err(missing));
}

#[test]
fn a_bundle_in_pem_is_sorted_by_names_whatever_stands_beside() {
    let built = built();
    let vlek = Draft::new(fake::Product::Milan, Kind::Vlek).build();
    let parts = [&built.issuer, &built.root, &vlek.issuer, &built.key];
    let text: String = parts.iter().map(|der| to_pem(der)).collect();
    let found = SnpCertificates::from_pem(&text).unwrap();
    assert_eq!(
        (found.key, found.issuer, found.root),
        (built.key, built.issuer, built.root)
    );
}

#[test]
fn a_bundle_with_two_for_one_place_is_refused() {
    let built = built();
    let other = Draft::new(fake::Product::Milan, Kind::Vcek)
        .with(|d| d.report_by = Key::p384(9))
        .with(|d| d.key.key = Key::p384(9).spki())
        .build();
    let all = [
        built.key.clone(),
        other.key,
        built.issuer.clone(),
        built.root.clone(),
    ];
    let two = SnpCertificatesError::NotOne {
        what: "a signing key",
        found: 2,
    };
    assert_eq!(SnpCertificates::of(&all), Err(two));
    let twice = [
        built.key.clone(),
        built.key.clone(),
        built.issuer.clone(),
        built.root.clone(),
    ];
    assert!(SnpCertificates::of(&twice).is_ok());
    let malformed = [built.key, vec![0x30]];
    assert!(matches!(
        SnpCertificates::of(&malformed),
        Err(SnpCertificatesError::Certificate { number: 2, .. })
    ));
    assert!(matches!(
        SnpCertificates::from_pem("x"),
        Err(SnpCertificatesError::Pem(_))
    ));
}

#[test]
fn a_table_that_is_none_is_refused() {
    let entry = |text: &str, body: &[u8]| (guid(text), body.to_vec());
    let good = table(&[entry(GUIDS[0], &[1; 10]), entry(GUIDS[1], &[2; 10])]);
    assert!(CertificateTable::parse(&good).is_ok());
    let altered = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        CertificateTable::parse(&bytes).unwrap_err()
    };
    // The first starts within the heads, the second within the first; each ends beyond the table.
    let bounds = |e: TableError| matches!(e, TableError::Bounds { .. });
    assert!(bounds(altered(16, 71)));
    assert!(bounds(altered(40, 81)));
    assert!(bounds(altered(47, 0xff)));
    assert!(bounds(altered(43, 0xff)));
    // A gap, and bytes behind the last.
    assert_eq!(altered(20, 9), TableError::Unclaimed);
    assert_eq!(altered(4095, 1), TableError::Unclaimed);
    let twice = table(&[entry(GUIDS[0], &[1]), entry(GUIDS[0], &[2])]);
    assert_eq!(CertificateTable::parse(&twice), Err(TableError::Twice));
    let many: Vec<_> = (1..=17).map(|n| (vec![n; 16], vec![n])).collect();
    assert_eq!(
        CertificateTable::parse(&table(&many)),
        Err(TableError::Entries)
    );
    assert!(CertificateTable::parse(&table(&many[..16])).is_ok());
    let found = 65_537;
    assert!(CertificateTable::parse(&vec![0; found - 1]).is_ok());
    assert_eq!(
        CertificateTable::parse(&vec![0; found]),
        Err(TableError::TooLarge { found })
    );
    assert!(matches!(
        CertificateTable::parse(&good[..50]),
        Err(TableError::Form(_))
    ));
    assert!(matches!(
        CertificateTable::parse(&[]),
        Err(TableError::Form(_))
    ));
    assert_eq!(CertificateTable::parse(&[0; 24]).unwrap().count(), 0);
}

proptest! {
    #[test]
    fn no_bytes_make_a_table_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = CertificateTable::parse(&bytes);
    }
}
