//! Forms in which people have quotes and collateral, and their limits.

use super::*;

fn json() -> String {
    let said = fake::Collateral::default();
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        serde_json::to_string(&text).unwrap()
    };
    let it = collateral(&said);
    format!(
        "{{\"tcb_info\":{},\"tcb_info_signature\":\"{}\",\"tcb_info_issuer_chain\":{},\
         \"qe_identity\":{},\"qe_identity_signature\":\"{}\",\"qe_identity_issuer_chain\":{},\
         \"pck_crl\":\"{}\",\"root_ca_crl\":\"{}\"}}",
        text(&it.tcb_info),
        hex::encode(&it.tcb_info_signature),
        text(&it.tcb_info_chain),
        text(&it.qe_identity),
        hex::encode(&it.qe_identity_signature),
        text(&it.qe_identity_chain),
        hex::encode(&it.pck_crl),
        hex::encode(&it.root_crl),
    )
}

#[test]
fn one_object_with_everything_is_read_as_it_was_signed() {
    let read = Collateral::from_json(json().as_bytes()).unwrap();
    assert_eq!(read, collateral(&fake::Collateral::default()));
    for extra in ["pck_crl_issuer_chain", "pck_certificate_chain"] {
        let with = json().replacen('{', &format!("{{\"{extra}\":\"x\","), 1);
        assert_eq!(Collateral::from_json(with.as_bytes()).as_ref(), Ok(&read));
    }
}

#[test]
fn one_object_that_lacks_a_thing_or_has_one_more_is_refused() {
    let refused = |text: &str| {
        Collateral::from_json(text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    let without = json().replace("\"root_ca_crl\"", "\"root_crl\"");
    assert_eq!(
        refused(&without),
        "collateral: collateral has no member root_ca_crl"
    );
    let more = json().replacen('{', "{\"x\":0,", 1);
    assert_eq!(
        refused(&more),
        "collateral: collateral has an unknown member \"x\""
    );
    let digits = json().replace("\"pck_crl\":\"", "\"pck_crl\":\"x");
    assert_eq!(refused(&digits), "pck_crl is not in hexadecimal digits");
    assert!(Collateral::from_json(b"[]").is_err());
}

/// Bodies of answers: `(tcb info, identity)`.
fn answers() -> (String, String) {
    let said = fake::Collateral::default();
    let answer = |name: &str, object: &str, signature: Vec<u8>| {
        let signature = hex::encode(signature);
        format!("{{\"{name}\":{object},\"signature\":\"{signature}\"}}\n")
    };
    (
        answer("tcbInfo", &said.tcb_info, said.tcb_info_signature()),
        answer(
            "enclaveIdentity",
            &said.qe_identity,
            said.qe_identity_signature(),
        ),
    )
}

fn base64(der: &[u8]) -> String {
    String::from_utf8(fake::pem(&[der]))
        .unwrap()
        .replace("CERTIFICATE", "X509 CRL")
}

#[test]
fn answers_of_the_service_are_read_with_lists_of_either_form() {
    let expected = collateral(&fake::Collateral::default());
    let (tcb_info, qe_identity) = answers();
    let lists = [
        (expected.pck_crl.clone(), expected.root_crl.clone()),
        (
            base64(&expected.pck_crl).into_bytes(),
            base64(&expected.root_crl).into_bytes(),
        ),
    ];
    for (pck_crl, root_crl) in lists {
        let read = Collateral::from_pcs(PcsAnswers {
            tcb_info: tcb_info.as_bytes(),
            tcb_info_chain: &expected.tcb_info_chain,
            qe_identity: qe_identity.as_bytes(),
            qe_identity_chain: &expected.qe_identity_chain,
            pck_crl: &pck_crl,
            root_crl: &root_crl,
        });
        assert_eq!(read.as_ref(), Ok(&expected));
    }
}

#[test]
fn collateral_says_which_platforms_it_is_about() {
    let good = collateral(&fake::Collateral::default());
    let fmspc = good.fmspc().map(|it| it.to_string());
    assert_eq!(fmspc.as_deref(), Some("b0c06f000000"));
    let other = Collateral {
        tcb_info: good.qe_identity.clone(),
        ..good
    };
    assert_eq!(other.fmspc(), None);
}

#[test]
fn answers_that_are_none_are_refused() {
    let good = collateral(&fake::Collateral::default());
    let (tcb_info, qe_identity) = answers();
    let two = base64(&good.pck_crl).repeat(2);
    let found = 2 * 1024 * 1024 + 1;
    let long = vec![0; found];
    let answers = PcsAnswers {
        tcb_info: tcb_info.as_bytes(),
        tcb_info_chain: &good.tcb_info_chain,
        qe_identity: qe_identity.as_bytes(),
        qe_identity_chain: &good.qe_identity_chain,
        pck_crl: &good.pck_crl,
        root_crl: &good.root_crl,
    };
    let refused = |answers: PcsAnswers<'_>| Collateral::from_pcs(answers).unwrap_err();
    assert!(matches!(
        refused(PcsAnswers {
            tcb_info: b"{}",
            ..answers
        }),
        CollateralError::Json(_)
    ));
    let identity = refused(PcsAnswers {
        qe_identity: b"{\"enclaveIdentity\":{},\"signature\":\"0\"}",
        ..answers
    });
    assert_eq!(identity, CollateralError::Hex("signature"));
    let more = refused(PcsAnswers {
        tcb_info: b"{\"tcbInfo\":{},\"signature\":\"00\",\"x\":0}",
        ..answers
    });
    assert!(matches!(more, CollateralError::Json(_)));
    for text in [
        two.as_bytes(),
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN \xff",
    ] {
        let refusal = refused(PcsAnswers {
            pck_crl: text,
            ..answers
        });
        assert_eq!(
            refusal,
            CollateralError::Pem("the platforms' revocation list")
        );
    }
    for text in ["%", "%0", "%0g", "%%30", "a%\u{e9}"] {
        let refusal = refused(PcsAnswers {
            tcb_info_chain: text.as_bytes(),
            ..answers
        });
        assert_eq!(
            refusal,
            CollateralError::Percent("the chain of the tcb info")
        );
    }
    let what = "the root's revocation list";
    assert_eq!(
        refused(PcsAnswers {
            root_crl: &long,
            ..answers
        }),
        CollateralError::TooLong { what, found }
    );
    let what = "the chain of the qe identity";
    assert_eq!(
        refused(PcsAnswers {
            qe_identity_chain: &long,
            ..answers
        }),
        CollateralError::TooLong { what, found }
    );
    // One that is not too long is read, and is no list.
    let longest = Collateral::from_pcs(PcsAnswers {
        root_crl: &long[1..],
        ..answers
    });
    assert_eq!(longest.map(|it| it.root_crl.len()), Ok(found - 1));
}

#[test]
fn a_quote_has_a_limit_of_bytes() {
    let mut case = Case::good();
    let of = |case: &Case| {
        let appraisal = case.appraise();
        reason(&appraisal, TdxCheck::QuoteHeader).to_owned()
    };
    case.quote.resize(65_537, 0);
    assert_eq!(of(&case), "length of the quote is 65537, limit is 65536");
    case.quote.pop();
    assert!(case.appraise().claimed().is_some());
    assert_eq!(
        outcome(&case.appraise(), TdxCheck::QuoteHeader),
        Outcome::Pass
    );
}

#[test]
fn padding_is_of_zeros_and_has_a_limit() {
    let quote = Case::good().quote;
    let with = |count: usize| [quote.clone(), vec![0; count]].concat();
    assert_eq!(without_padding(&quote), Ok(quote.as_slice()));
    assert_eq!(without_padding(&with(16_384)), Ok(quote.as_slice()));
    let count = 16_385;
    assert_eq!(
        without_padding(&with(count)),
        Err(PaddingError::TooMuch { count })
    );
    let mut dirty = with(9);
    *dirty.last_mut().unwrap() = 1;
    assert_eq!(
        without_padding(&dirty),
        Err(PaddingError::NotZero { count: 9 })
    );
    for length in [0, 47, 48, 631, 632, 635, quote.len() - 1] {
        let found = without_padding(&quote[..length]);
        assert!(
            matches!(found, Err(PaddingError::Form(_))),
            "{length}: {found:?}"
        );
    }
    let version_6 = Case::quote(|quote| quote.version = 6).quote;
    assert!(matches!(
        without_padding(&version_6),
        Err(PaddingError::Form(_))
    ));
    let version_5 = Case::extended(|_| ()).quote;
    assert_eq!(without_padding(&version_5), Ok(version_5.as_slice()));
}

#[test]
fn statements_have_limits() {
    let levels = |count: usize| {
        let level = fake::module_level(1, "UpToDate", "2025-11-13T00:00:00Z", "");
        let list = vec![level; count].join(",");
        Case::said(|said| {
            let at = said.qe_identity.find("\"tcbLevels\"").unwrap();
            said.qe_identity.truncate(at);
            said.qe_identity
                .push_str(&format!("\"tcbLevels\":[{list}]}}"));
        })
    };
    assert!(levels(256).appraise().verified().is_some());
    assert_eq!(failed(&levels(257).appraise()), ["tdx.qeidentity.members"]);
    let advisories = |count: usize, name: &str| {
        let list = vec![format!("\"{name}\""); count].join(",");
        Case::tcb_info("[\"INTEL-SA-01036\"]", &format!("[{list}]"))
    };
    assert!(advisories(256, "A").appraise().verified().is_some());
    assert_eq!(
        failed(&advisories(257, "A").appraise()),
        ["tdx.tcbinfo.members"]
    );
    assert!(
        advisories(1, &"A".repeat(64))
            .appraise()
            .verified()
            .is_some()
    );
    let long = advisories(1, &"A".repeat(65));
    assert_eq!(failed(&long.appraise()), ["tdx.tcbinfo.members"]);
    let number = Case::tcb_info("\"INTEL-SA-01036\"", "1");
    assert_eq!(failed(&number.appraise()), ["tdx.tcbinfo.members"]);
}

#[test]
fn a_list_of_modules_has_a_limit() {
    let with = |count: usize| {
        Case::said(|said| {
            let entry = said.tcb_info.find("{\"id\":\"TDX_03\"").unwrap();
            let end = said.tcb_info.find(",{\"id\":\"TDX_01\"").unwrap();
            let module = said.tcb_info[entry..end].to_owned();
            let more: String = (0..count)
                .map(|number| module.replace("TDX_03", &format!("X{number}")) + ",")
                .collect();
            said.tcb_info.insert_str(entry, &more);
        })
    };
    assert!(with(254).appraise().verified().is_some());
    assert_eq!(failed(&with(255).appraise()), ["tdx.tcbinfo.members"]);
}

#[test]
fn a_chain_has_a_limit_of_bytes() {
    let spaced = |bytes: usize| {
        Case::received(|it| {
            let spaces = bytes - it.tcb_info_chain.len();
            it.tcb_info_chain.extend(vec![b'\n'; spaces]);
        })
    };
    assert!(spaced(64 * 1024).appraise().verified().is_some());
    assert_eq!(
        failed(&spaced(64 * 1024 + 1).appraise()),
        ["tdx.tcbinfo.chain"]
    );
}

#[test]
fn a_status_reads_back_as_itself() {
    for status in TcbStatus::ALL {
        assert_eq!(TcbStatus::parse(status.as_str()), Some(*status));
    }
    assert_eq!(TcbStatus::parse("uptodate"), None);
}

#[test]
fn what_cannot_be_read_is_claimed_by_nobody() {
    let mut case = Case::good();
    assert!(case.appraise().claimed().is_some());
    case.quote.truncate(600);
    assert!(case.appraise().claimed().is_none());
}

#[test]
fn statuses_join_to_the_worse() {
    use TcbStatus::{
        ConfigurationAndSwHardeningNeeded, ConfigurationNeeded, OutOfDate,
        OutOfDateConfigurationNeeded, Revoked, SwHardeningNeeded, TdRelaunchAdvised,
        TdRelaunchAdvisedConfigurationNeeded, UpToDate,
    };
    for status in TcbStatus::ALL {
        assert_eq!(status.with(UpToDate), *status);
        assert_eq!(status.with(Revoked), Revoked);
    }
    for (status, expected) in [
        (UpToDate, OutOfDate),
        (SwHardeningNeeded, OutOfDate),
        (OutOfDate, OutOfDate),
        (TdRelaunchAdvised, OutOfDate),
        (ConfigurationNeeded, OutOfDateConfigurationNeeded),
        (
            ConfigurationAndSwHardeningNeeded,
            OutOfDateConfigurationNeeded,
        ),
        (OutOfDateConfigurationNeeded, OutOfDateConfigurationNeeded),
        (
            TdRelaunchAdvisedConfigurationNeeded,
            OutOfDateConfigurationNeeded,
        ),
        (Revoked, Revoked),
    ] {
        assert_eq!(status.with(OutOfDate), expected, "{status}");
    }
    for (launch, now, expected) in [
        (UpToDate, Revoked, Revoked),
        (Revoked, UpToDate, Revoked),
        (OutOfDate, Revoked, Revoked),
        (ConfigurationNeeded, UpToDate, UpToDate),
        (UpToDate, OutOfDate, OutOfDate),
        (OutOfDate, OutOfDateConfigurationNeeded, OutOfDate),
        (
            OutOfDateConfigurationNeeded,
            UpToDate,
            TdRelaunchAdvisedConfigurationNeeded,
        ),
        (
            OutOfDate,
            ConfigurationAndSwHardeningNeeded,
            TdRelaunchAdvisedConfigurationNeeded,
        ),
        (OutOfDate, SwHardeningNeeded, TdRelaunchAdvised),
    ] {
        assert_eq!(launch.launched(now), expected, "{launch} {now}");
    }
}
