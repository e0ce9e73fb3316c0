use super::*;

const ISSUER: &[u8] = include_bytes!("../../testdata/issuer.der");
const GOOD: &[u8] = include_bytes!("../../testdata/good.der");
const BAD: &[u8] = include_bytes!("../../testdata/bad.der");
const EMPTY: &[u8] = include_bytes!("../../testdata/empty.crl");
const REVOKING: &[u8] = include_bytes!("../../testdata/revoking.crl");
const DELTA: &[u8] = include_bytes!("../../testdata/delta.crl");

fn certificate(der: &[u8]) -> Certificate<'_> {
    Certificate::parse(der).unwrap()
}

#[test]
fn a_list_names_what_was_taken_back_and_nothing_else() {
    let list = Crl::parse(REVOKING).unwrap();
    list.verify(&certificate(ISSUER)).unwrap();
    assert_eq!(list.count(), 1);
    assert!(list.revoked(certificate(BAD).serial()).is_some());
    assert_eq!(list.revoked(certificate(GOOD).serial()), None);
    let list = Crl::parse(EMPTY).unwrap();
    list.verify(&certificate(ISSUER)).unwrap();
    assert_eq!(list.count(), 0);
    assert_eq!(list.revoked(certificate(BAD).serial()), None);
}

#[test]
fn a_list_of_changes_alone_is_refused() {
    assert_eq!(
        Crl::parse(DELTA).unwrap_err(),
        CertificateError::CriticalExtension("a revocation list")
    );
}

#[test]
fn a_list_is_current_from_its_issue_to_the_next() {
    let list = Crl::parse(EMPTY).unwrap();
    let (from, until) = (1_772_323_200_000, 1_775_001_600_000);
    assert_eq!((list.this_update(), list.next_update()), (from, until));
    assert!(list.current(from).is_ok() && list.current(until + 999).is_ok());
    assert!(list.current(from - 1).is_err() && list.current(until + 1000).is_err());
}

#[test]
fn a_list_of_somebody_else_is_refused() {
    let list = Crl::parse(EMPTY).unwrap();
    assert_eq!(
        list.verify(&certificate(GOOD)),
        Err(CertificateError::IssuerName("a revocation list"))
    );
}

#[test]
fn no_byte_of_a_list_can_be_changed() {
    let issuer = certificate(ISSUER);
    for place in 0..REVOKING.len() {
        for bit in 0..8 {
            let mut changed = REVOKING.to_vec();
            changed[place] ^= 1 << bit;
            let holds = Crl::parse(&changed).is_ok_and(|list| list.verify(&issuer).is_ok());
            assert!(!holds, "byte {place}, bit {bit}");
        }
    }
}

#[test]
fn a_list_that_is_cut_or_goes_on_is_refused() {
    for length in 0..REVOKING.len() {
        assert!(Crl::parse(&REVOKING[..length]).is_err(), "{length}");
    }
    assert!(Crl::parse(&[REVOKING, &[0]].concat()).is_err());
    assert!(matches!(
        Crl::parse(&vec![0x30; MAX_CRL_BYTES + 1]),
        Err(CertificateError::TooLarge { .. })
    ));
}
