use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;

use super::base::Lines;
use super::fields::Parameters;
use super::*;
use crate::ed25519::{SignatureError, Signed};

const BODY: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
const NOW: UnixSeconds = UnixSeconds(1_795_243_269);
const NONCE: &str = "q2V4YW1wbGUtbm9u";

/// A request under construction: owned, so that a test can change one thing.
#[derive(Clone)]
struct Draft {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Draft {
    fn plain() -> Self {
        let headers = [
            ("Content-Type", "application/json"),
            ("MCP-Protocol-Version", "2026-07-28"),
        ];
        Self {
            method: "POST".into(),
            authority: "Gateway.example:443".into(),
            path: "/mcp".into(),
            query: None,
            headers: headers
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            body: BODY.into(),
        }
    }

    /// With the headers that `sign_request` gives.
    fn signed(mut self) -> Self {
        let SignatureHeaders {
            content_digest,
            signature_input,
            signature,
        } = self
            .with(|request| {
                sign_request(request, &parameters(), |base| {
                    signer().sign(base).to_bytes()
                })
            })
            .unwrap();
        self.set("content-digest", &content_digest);
        self.set("signature-input", &signature_input);
        self.set("signature", &signature);
        self
    }

    /// With a signature whose components and parameters are `text`, whatever it says.
    fn signed_as(mut self, text: &str) -> Self {
        if self.get("content-digest").is_none() {
            let digest = fields::write_bytes(&base::content_digest(&self.body));
            self.set("content-digest", &format!("sha-256={digest}"));
        }
        let base = self.with(|request| {
            let parsed = SignatureInput::parse(&format!("a={text}"))
                .map(|input| input.parameters.components);
            request
                .base(&parsed.unwrap_or_default(), text)
                .unwrap_or_default()
        });
        self.set("signature-input", &format!("a={text}"));
        self.set(
            "signature",
            &format!(
                "a={}",
                fields::write_bytes(&signer().sign(&base).to_bytes())
            ),
        );
        self
    }

    fn with<T>(&self, use_it: impl FnOnce(&HttpRequest<'_>) -> T) -> T {
        self.by(Scheme::Https, use_it)
    }

    fn by<T>(&self, scheme: Scheme, use_it: impl FnOnce(&HttpRequest<'_>) -> T) -> T {
        let headers: Vec<Header<'_>> = self
            .headers
            .iter()
            .map(|(name, value)| Header { name, value })
            .collect();
        use_it(&HttpRequest {
            method: &self.method,
            scheme,
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &headers,
            body: &self.body,
        })
    }

    fn get(&self, name: &str) -> Option<String> {
        let found = self
            .headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
    }

    fn parse(&self) -> Result<SignedRequest, RequestError> {
        self.with(SignedRequest::parse)
    }

    fn refusal(&self) -> RequestError {
        self.parse().expect_err("this request shall be refused")
    }
}

fn signer() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn key() -> PublicKey {
    PublicKey::parse(signer().verifying_key().as_bytes()).unwrap()
}

fn parameters() -> SigningParameters<'static> {
    SigningParameters {
        key_id: "agent-7",
        created: NOW,
        expires: None,
        nonce: NONCE,
    }
}

fn good_parameters() -> String {
    format!(
        ";created={};keyid=\"agent-7\";nonce=\"{NONCE}\";alg=\"ed25519\";tag=\"countersign\"",
        NOW.0
    )
}

const COVERED: &str = r#"("@method" "@authority" "@path" "content-digest" "mcp-protocol-version")"#;

fn signed_with_parameters(parameters: &str) -> Draft {
    Draft::plain().signed_as(&format!("{COVERED}{parameters}"))
}

fn signed_with_components(components: &str) -> Draft {
    Draft::plain().signed_as(&format!("({components}){}", good_parameters()))
}

fn base_refusal(draft: &Draft) -> BaseError {
    let refusal = draft.refusal();
    let RequestError::Base(error) = refusal else {
        panic!("refused by another check: {refusal}")
    };
    error
}

fn verified(draft: &Draft) -> VerifiedCall {
    draft.parse().unwrap().verify(&key()).unwrap()
}

#[test]
fn the_example_of_rfc_9421_appendix_b_2_6_is_accepted_by_base_and_key() {
    // Key: RFC 9421 B.1.4; base and signature: B.2.6.
    let public = STANDARD
        .decode("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")
        .unwrap();
    let base = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
                \"@method\": POST\n\
                \"@path\": /foo\n\
                \"@authority\": example.com\n\
                \"content-type\": application/json\n\
                \"content-length\": 18\n\
                \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
                \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
    let signature = "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:";
    let signature = NamedBytes::parse(signature).unwrap();
    assert_eq!(signature.name, "sig-b26");
    let key = PublicKey::parse(&public.try_into().unwrap()).unwrap();
    let signature = signature.bytes.try_into().unwrap();
    assert_eq!(
        key.verify(Signed {
            message: base.as_bytes(),
            signature: &signature
        }),
        Ok(())
    );
    let lines = Lines::parse(base.as_bytes()).unwrap();
    assert_eq!(lines.components.len(), 6);
    assert_eq!(lines.parameters.created, Some(1_618_884_473));
    assert_eq!(lines.parameters.key_id.as_deref(), Some("test-key-ed25519"));
    // It is no signed call of ours: no digest of the body, no nonce, no tag.
    let offline = verify_base(
        SignedBase {
            base: base.as_bytes(),
            signature: &signature,
        },
        &key,
    );
    assert_eq!(
        offline,
        Err(BaseError::NotCovered {
            component: "content-digest"
        })
    );
}

#[test]
fn the_base_that_a_request_gives_is_that_of_rfc_9421_appendix_b_2_6() {
    let headers = [
        Header {
            name: "Host",
            value: b"example.com",
        },
        Header {
            name: "Date",
            value: b"Tue, 20 Apr 2021 02:07:55 GMT",
        },
        Header {
            name: "Content-Type",
            value: b"application/json",
        },
        Header {
            name: "Content-Length",
            value: b"18",
        },
    ];
    let request = HttpRequest {
        method: "POST",
        scheme: Scheme::Https,
        authority: "example.com",
        path: "/foo",
        query: Some("param=Value&Pet=dog"),
        headers: &headers,
        body: br#"{"hello": "world"}"#,
    };
    let text = r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    let names = fields::Parameters::parse(text).unwrap().components;
    let base = request.base(&names, text).unwrap();
    let private = STANDARD
        .decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=")
        .unwrap();
    let signature = SigningKey::from_bytes(&private.try_into().unwrap())
        .sign(&base)
        .to_bytes();
    assert_eq!(
        fields::write_bytes(&signature),
        ":wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
    );
}

#[test]
fn a_signed_request_is_accepted_and_says_who_and_when() {
    let call = verified(&Draft::plain().signed());
    assert_eq!(call.key(), key().id());
    assert_eq!(call.key_id(), "agent-7");
    assert_eq!(call.nonce(), NONCE);
    assert_eq!(call.created(), NOW);
    assert_eq!(call.component("@authority"), Some("gateway.example"));
    assert_eq!(call.component("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(call.content_digest(), &base::content_digest(BODY));
}

#[test]
fn what_was_verified_online_verifies_offline_from_its_base() {
    let online = verified(&Draft::plain().signed());
    let stored = SignedBase {
        base: online.base(),
        signature: online.signature(),
    };
    assert_eq!(verify_base(stored, &key()), Ok(online));
}

#[test]
fn a_target_uri_stands_for_authority_path_and_query() {
    let mut draft = Draft::plain();
    draft.query = Some("a=b".into());
    let components = r#""@method" "@target-uri" "content-digest" "mcp-protocol-version""#;
    let draft = draft.signed_as(&format!("({components}){}", good_parameters()));
    assert_eq!(
        verified(&draft).component("@target-uri"),
        Some("https://gateway.example/mcp?a=b")
    );
}

#[test]
fn repeated_lines_of_a_covered_header_are_joined() {
    let mut draft = Draft::plain();
    draft.headers.push(("X-List".into(), b" one ".to_vec()));
    draft.headers.push(("x-list".into(), b"two".to_vec()));
    let components = COVERED.replace(')', r#" "x-list")"#);
    let draft = draft.signed_as(&format!("{components}{}", good_parameters()));
    assert_eq!(verified(&draft).component("x-list"), Some("one, two"));
}

#[test]
fn a_request_without_signature_is_refused() {
    assert_eq!(
        Draft::plain().refusal(),
        RequestError::HeaderMissing {
            name: "signature-input"
        }
    );
}

#[test]
fn a_request_without_content_digest_is_refused() {
    let mut draft = Draft::plain().signed();
    draft.headers.retain(|(name, _)| name != "content-digest");
    assert_eq!(
        draft.refusal(),
        RequestError::HeaderMissing {
            name: "content-digest"
        }
    );
}

#[test]
fn a_second_signature_header_is_refused() {
    let mut draft = Draft::plain().signed();
    draft
        .headers
        .push(("Signature".into(), b"sig1=:AA==:".to_vec()));
    assert_eq!(
        draft.refusal(),
        RequestError::HeaderRepeated { name: "signature" }
    );
}

#[test]
fn a_second_signature_in_one_header_is_refused() {
    let mut draft = Draft::plain().signed();
    let field = format!("{}, sig2=:AA==:", draft.get("signature").unwrap());
    draft.set("signature", &field);
    assert!(matches!(
        draft.refusal(),
        RequestError::Field {
            name: "signature",
            ..
        }
    ));
}

#[test]
fn a_long_signature_input_is_refused() {
    let mut draft = Draft::plain().signed();
    draft.set("signature-input", &"a".repeat(4097));
    assert_eq!(
        draft.refusal(),
        RequestError::HeaderTooLong {
            name: "signature-input",
            bytes: 4097
        }
    );
}

#[test]
fn a_signature_input_of_4096_bytes_is_read() {
    let mut draft = Draft::plain().signed();
    draft.set("signature-input", &"a".repeat(4096));
    assert!(matches!(draft.refusal(), RequestError::Field { .. }));
}

#[test]
fn other_labels_are_refused() {
    let mut draft = Draft::plain().signed();
    let field = draft.get("signature").unwrap().replace("sig1", "sig2");
    draft.set("signature", &field);
    assert_eq!(draft.refusal(), RequestError::OtherLabel);
}

#[test]
fn a_short_signature_is_refused() {
    let mut draft = Draft::plain().signed();
    draft.set("signature", "sig1=:AAAA:");
    assert_eq!(draft.refusal(), RequestError::SignatureLength { bytes: 3 });
}

#[test]
fn another_body_is_refused() {
    let mut draft = Draft::plain().signed();
    draft.body.push(b' ');
    assert_eq!(draft.refusal(), RequestError::OtherBody);
}

#[test]
fn two_digests_of_the_body_are_refused() {
    let mut draft = Draft::plain();
    let digest = fields::write_bytes(&base::content_digest(BODY));
    draft.set(
        "content-digest",
        &format!("sha-256={digest}, sha-512={digest}"),
    );
    let draft = draft.signed_as(&format!("{COVERED}{}", good_parameters()));
    assert!(matches!(
        base_refusal(&draft),
        BaseError::ContentDigest(FieldError::Unexpected { .. })
    ));
}

#[test]
fn a_digest_by_another_algorithm_is_refused() {
    let mut draft = Draft::plain();
    draft.set(
        "content-digest",
        &format!(
            "sha-512={}",
            fields::write_bytes(&base::content_digest(BODY))
        ),
    );
    let draft = draft.signed_as(&format!("{COVERED}{}", good_parameters()));
    assert_eq!(base_refusal(&draft), BaseError::OtherDigest);
}

#[test]
fn each_needed_component_is_named_when_it_is_not_covered() {
    for component in ["@method", "@authority", "@path", "content-digest"] {
        let left: Vec<String> = [
            "@method",
            "@authority",
            "@path",
            "content-digest",
            "mcp-protocol-version",
        ]
        .into_iter()
        .filter(|name| *name != component)
        .map(|name| format!("\"{name}\""))
        .collect();
        let draft = signed_with_components(&left.join(" "));
        assert_eq!(base_refusal(&draft), BaseError::NotCovered { component });
    }
}

#[test]
fn a_query_that_is_not_covered_is_refused() {
    let mut draft = signed_with_parameters(&good_parameters());
    draft.query = Some(String::new());
    assert_eq!(
        draft.refusal(),
        RequestError::PresentButNotCovered {
            component: "@query"
        }
    );
}

#[test]
fn each_header_that_changes_the_call_is_refused_when_it_is_not_covered() {
    for component in COVERED_WHEN_PRESENT {
        let mut draft = Draft::plain();
        draft
            .headers
            .retain(|(name, _)| name != "MCP-Protocol-Version");
        draft.set(component, "added on the way");
        let text = COVERED.replace(r#" "mcp-protocol-version""#, "");
        let draft = draft.signed_as(&format!("{text}{}", good_parameters()));
        assert_eq!(
            draft.refusal(),
            RequestError::PresentButNotCovered { component }
        );
    }
}

#[test]
fn each_missing_parameter_is_named() {
    for (name, written) in [
        ("created", format!(";created={}", NOW.0)),
        ("keyid", ";keyid=\"agent-7\"".to_owned()),
        ("nonce", format!(";nonce=\"{NONCE}\"")),
        ("alg", ";alg=\"ed25519\"".to_owned()),
        ("tag", ";tag=\"countersign\"".to_owned()),
    ] {
        let draft = signed_with_parameters(&good_parameters().replace(&written, ""));
        assert_eq!(base_refusal(&draft), BaseError::ParameterMissing { name });
    }
}

#[test]
fn another_algorithm_is_refused() {
    let draft =
        signed_with_parameters(&good_parameters().replace("\"ed25519\"", "\"hmac-sha256\""));
    assert_eq!(base_refusal(&draft), BaseError::OtherAlgorithm);
}

#[test]
fn a_signature_made_for_another_purpose_is_refused() {
    let draft =
        signed_with_parameters(&good_parameters().replace("\"countersign\"", "\"web-bot-auth\""));
    assert_eq!(base_refusal(&draft), BaseError::OtherTag);
}

#[test]
fn a_short_nonce_is_refused() {
    let draft = signed_with_parameters(&good_parameters().replace(NONCE, "0123456789abcde"));
    assert_eq!(base_refusal(&draft), BaseError::ShortNonce { chars: 15 });
}

#[test]
fn an_unknown_parameter_is_refused() {
    let draft = signed_with_parameters(&format!("{};x=1", good_parameters()));
    assert!(matches!(
        draft.refusal(),
        RequestError::Field {
            name: "signature-input",
            error: FieldError::UnknownParameter { .. }
        }
    ));
}

#[test]
fn a_repeated_parameter_is_refused() {
    let draft = signed_with_parameters(&format!("{};created=1", good_parameters()));
    assert!(matches!(
        draft.refusal(),
        RequestError::Field {
            error: FieldError::Repeated { .. },
            ..
        }
    ));
}

#[test]
fn a_repeated_component_is_refused() {
    let draft = signed_with_components(r#""@method" "@method""#);
    assert!(matches!(
        draft.refusal(),
        RequestError::Field {
            error: FieldError::Repeated { .. },
            ..
        }
    ));
}

#[test]
fn a_component_with_parameters_is_refused() {
    let draft = signed_with_components(r#""@method";req"#);
    assert!(matches!(
        draft.refusal(),
        RequestError::Field {
            error: FieldError::Unexpected { .. },
            ..
        }
    ));
}

#[test]
fn more_than_32_components_are_refused() {
    let names: Vec<String> = (0..33).map(|number| format!("\"x-{number}\"")).collect();
    let draft = signed_with_components(&names.join(" "));
    assert!(matches!(
        draft.refusal(),
        RequestError::Field {
            error: FieldError::TooLong { limit: 32, .. },
            ..
        }
    ));
}

#[test]
fn an_unknown_derived_component_is_refused() {
    let draft = signed_with_components(r#""@method" "@status""#);
    assert_eq!(
        draft.refusal(),
        RequestError::UnsupportedComponent { position: 2 }
    );
}

#[test]
fn a_signature_that_covers_itself_is_refused() {
    let draft = signed_with_components(r#""signature""#);
    assert_eq!(
        draft.refusal(),
        RequestError::UnsupportedComponent { position: 1 }
    );
}

#[test]
fn a_covered_header_that_is_absent_is_refused() {
    let draft = signed_with_components(r#""@method" "x-absent""#);
    assert_eq!(
        draft.refusal(),
        RequestError::ComponentAbsent { position: 2 }
    );
}

#[test]
fn a_line_end_in_a_path_is_refused() {
    let mut draft = signed_with_parameters(&good_parameters());
    draft.path = "/mcp\n\"x\": y".into();
    assert_eq!(
        draft.refusal(),
        RequestError::ComponentNotText { position: 3 }
    );
}

#[test]
fn a_base_over_the_limit_is_refused() {
    let mut draft = Draft::plain();
    draft.set("x-long", &"a".repeat(MAX_BASE_BYTES));
    let components = COVERED.replace(')', r#" "x-long")"#);
    let draft = draft.signed_as(&format!("{components}{}", good_parameters()));
    assert!(matches!(base_refusal(&draft), BaseError::TooLong { .. }));
}

#[test]
fn a_base_of_exactly_the_limit_is_not_too_long() {
    let mut draft = Draft::plain();
    draft.path = "p".repeat(MAX_BASE_BYTES - "\"@path\": \n".len());
    let built = draft
        .with(|request| request.base(&["@path".into()], ""))
        .unwrap();
    assert_eq!(
        built.len(),
        MAX_BASE_BYTES + "\"@signature-params\": ".len()
    );
    let whole = vec![b'a'; MAX_BASE_BYTES];
    let refused = Lines::parse(&whole).err();
    assert_eq!(refused, Some(BaseError::MalformedLine { line: 1 }));
}

#[test]
fn an_authorization_of_8_kib_fits_in_a_base() {
    let mut draft = Draft::plain();
    draft.set("authorization", &"a".repeat(8192));
    let call = verified(&draft.signed());
    assert_eq!(call.component("authorization").map(str::len), Some(8192));
}

#[test]
fn a_request_in_the_clear_has_its_own_scheme_and_default_port() {
    let draft = Draft::plain();
    let base = draft.with(|request| {
        let request = HttpRequest {
            scheme: Scheme::Http,
            authority: "Gateway.example:80",
            path: "",
            ..*request
        };
        let components = ["@target-uri", "@authority", "@path"].map(str::to_owned);
        request.base(&components, "()").unwrap()
    });
    let expected = r#""@target-uri": http://gateway.example/
"@authority": gateway.example
"@path": /
"@signature-params": ()"#;
    assert_eq!(String::from_utf8(base).unwrap(), expected);
}

#[test]
fn a_request_claims_its_key_before_it_is_verified() {
    let request = Draft::plain().signed().parse().unwrap();
    assert_eq!(request.claimed_key_id(), "agent-7");
}

#[test]
fn what_the_caller_says_of_its_expiry_is_signed() {
    let expires = Some(UnixSeconds(NOW.0 + 5));
    let signing = SigningParameters {
        expires,
        ..parameters()
    };
    let mut draft = Draft::plain();
    let headers = draft
        .with(|request| sign_request(request, &signing, |base| signer().sign(base).to_bytes()))
        .unwrap();
    draft.set("content-digest", &headers.content_digest);
    draft.set("signature-input", &headers.signature_input);
    draft.set("signature", &headers.signature);
    assert_eq!(verified(&draft).expires(), expires);
}

#[test]
fn a_label_has_at_most_64_characters_and_begins_with_a_letter_or_a_star() {
    let label = |label: &str| NamedBytes::parse(&format!("{label}=:AA==:")).map(|n| n.bytes);
    for good in [&"a".repeat(64), "*", "a_-.*9"] {
        assert_eq!(label(good), Ok(vec![0]), "{good}");
    }
    let too_long = FieldError::TooLong { at: 0, limit: 64 };
    assert_eq!(label(&"a".repeat(65)), Err(too_long));
    for bad in ["A", "9", "_", "", "-"] {
        let refused = label(bad);
        assert!(
            matches!(refused, Err(FieldError::Unexpected { at: 0, .. })),
            "{bad}: {refused:?}"
        );
    }
}

#[test]
fn a_time_has_at_most_15_digits_and_no_leading_zero() {
    let created = |digits: &str| Parameters::parse(&format!("();created={digits}"));
    for (digits, seconds) in [("0", 0), ("9", 9), ("999999999999999", 999_999_999_999_999)] {
        assert_eq!(created(digits).unwrap().created, Some(seconds));
    }
    let too_long = FieldError::TooLong { at: 11, limit: 15 };
    assert_eq!(created("1000000000000000"), Err(too_long));
    for bad in ["00", "01", "007", "", "-1"] {
        let refused = created(bad);
        assert!(
            matches!(refused, Err(FieldError::Unexpected { at: 11, .. })),
            "{bad}: {refused:?}"
        );
    }
}

#[test]
fn a_string_has_at_most_256_characters_and_two_escapes() {
    let nonce = |text: &str| Parameters::parse(&format!("();nonce=\"{text}\""));
    let longest = "n".repeat(256);
    assert_eq!(nonce(&longest).unwrap().nonce, Some(longest.clone()));
    let too_long = FieldError::TooLong { at: 9, limit: 256 };
    assert_eq!(nonce(&format!("{longest}n")), Err(too_long));
    assert_eq!(nonce(r#"a\"\\b"#).unwrap().nonce, Some(r#"a"\b"#.into()));
    assert!(matches!(
        nonce(r"a\b"),
        Err(FieldError::Unexpected { at: 12, .. })
    ));
}

#[test]
fn exactly_32_components_are_read() {
    let names: Vec<String> = (0..32).map(|number| format!("\"x-{number}\"")).collect();
    let parsed = Parameters::parse(&format!("({})", names.join(" ")));
    assert_eq!(parsed.unwrap().components.len(), 32);
}

#[test]
fn optional_whitespace_is_refused_because_the_text_is_what_was_signed() {
    let draft = signed_with_parameters(&good_parameters().replace(";keyid", "; keyid"));
    assert!(matches!(
        draft.refusal(),
        RequestError::Field {
            name: "signature-input",
            ..
        }
    ));
}

#[test]
fn another_method_path_query_authority_or_covered_header_does_not_verify() {
    let mut signed = Draft::plain();
    signed.query = Some("a=b".into());
    let signed = signed.signed();
    let changes: [fn(&mut Draft); 5] = [
        |draft| draft.method = "PUT".into(),
        |draft| draft.path = "/mcp/".into(),
        |draft| draft.query = Some("a=c".into()),
        |draft| draft.authority = "gateway.example:8443".into(),
        |draft| draft.set("mcp-protocol-version", "2025-11-25"),
    ];
    for change in changes {
        let mut draft = signed.clone();
        change(&mut draft);
        let refused = draft.parse().unwrap().verify(&key());
        assert_eq!(refused, Err(BaseError::Signature(SignatureError::Mismatch)));
    }
}

#[test]
fn another_key_does_not_verify() {
    let other =
        PublicKey::parse(SigningKey::from_bytes(&[8; 32]).verifying_key().as_bytes()).unwrap();
    let refused = Draft::plain().signed().parse().unwrap().verify(&other);
    assert_eq!(refused, Err(BaseError::Signature(SignatureError::Mismatch)));
}

#[test]
fn a_base_whose_lines_are_not_the_listed_components_is_refused_offline() {
    let call = verified(&Draft::plain().signed());
    let base =
        String::from_utf8(call.base().to_vec())
            .unwrap()
            .replacen("\"@method\": POST\n", "", 1);
    let stored = SignedBase {
        base: base.as_bytes(),
        signature: call.signature(),
    };
    assert_eq!(verify_base(stored, &key()), Err(BaseError::OtherComponents));
}

#[test]
fn a_base_with_a_line_after_its_parameters_is_refused_offline() {
    let call = verified(&Draft::plain().signed());
    let base = [call.base(), b"\n\"@method\": POST"].concat();
    let stored = SignedBase {
        base: &base,
        signature: call.signature(),
    };
    assert!(matches!(
        verify_base(stored, &key()),
        Err(BaseError::MalformedLine { .. })
    ));
}

#[test]
fn a_base_without_parameters_is_refused_offline() {
    let stored = SignedBase {
        base: b"\"@method\": POST",
        signature: &[0; 64],
    };
    assert_eq!(
        verify_base(stored, &key()),
        Err(BaseError::NotCovered {
            component: "@signature-params"
        })
    );
}

#[test]
fn freshness_ends_a_minute_before_and_after() {
    let call = verified(&Draft::plain().signed());
    let at = |now: u64| call.appraise_freshness(UnixSeconds(now), Window::MINUTE);
    let (created, past_seconds, future_seconds) = (NOW, 60, 60);
    assert_eq!(at(NOW.0 + 60), Ok(()));
    assert_eq!(at(NOW.0 - 60), Ok(()));
    let now = UnixSeconds(NOW.0 + 61);
    assert_eq!(
        at(now.0),
        Err(FreshnessError::Stale {
            created,
            now,
            past_seconds
        })
    );
    let now = UnixSeconds(NOW.0 - 61);
    assert_eq!(
        at(now.0),
        Err(FreshnessError::FromTheFuture {
            created,
            now,
            future_seconds
        })
    );
}

#[test]
fn an_expired_signature_is_not_fresh_within_the_window() {
    let expires = UnixSeconds(NOW.0 + 5);
    let parameters = format!("{};expires={}", good_parameters(), expires.0);
    let call = verified(&signed_with_parameters(&parameters));
    assert_eq!(call.appraise_freshness(expires, Window::MINUTE), Ok(()));
    let now = UnixSeconds(expires.0 + 1);
    assert_eq!(
        call.appraise_freshness(now, Window::MINUTE),
        Err(FreshnessError::Expired { expires, now })
    );
}

#[test]
fn debug_output_holds_neither_token_nor_path() {
    let mut draft = Draft::plain();
    draft.set("authorization", "Bearer hush-hush");
    let draft = draft.signed();
    let text = format!("{:?} {:?}", draft.parse().unwrap(), verified(&draft));
    assert!(!text.contains("hush") && !text.contains("/mcp"), "{text}");
}

#[test]
fn a_key_id_with_a_quote_cannot_be_signed() {
    let parameters = SigningParameters {
        key_id: "a\"b",
        ..parameters()
    };
    let result = Draft::plain().with(|request| sign_request(request, &parameters, |_| [0; 64]));
    assert_eq!(result, Err(SignError::NotPlain { name: "keyid" }));
}

#[test]
fn a_signed_request_cannot_be_signed_again() {
    let draft = Draft::plain().signed();
    let result = draft.with(|request| sign_request(request, &parameters(), |_| [0; 64]));
    assert_eq!(
        result,
        Err(SignError::SignedBefore {
            name: "content-digest"
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_the_client_signs_the_server_accepts(
        method in "[A-Z]{1,8}", path in "(/[!-~]{0,12}){0,3}", query in prop::option::of("[!-~]{0,20}"),
        session in prop::option::of("[!-~]{1,40}"), body: Vec<u8>, nonce in "[A-Za-z0-9+/]{16,64}",
    ) {
        let mut draft = Draft { method, path, query, body, ..Draft::plain() };
        if let Some(session) = session {
            draft.set("mcp-session-id", &session);
        }
        let headers = draft
            .with(|request| sign_request(request, &SigningParameters { nonce: &nonce, ..parameters() }, |base| {
                signer().sign(base).to_bytes()
            }))
            .unwrap();
        draft.set("content-digest", &headers.content_digest);
        draft.set("signature-input", &headers.signature_input);
        draft.set("signature", &headers.signature);
        let call = verified(&draft);
        prop_assert_eq!(call.nonce(), nonce);
    }

    #[test]
    fn a_changed_byte_in_the_three_headers_is_refused(which in 0_usize..3, position: prop::sample::Index, flip in 1_u8..) {
        let mut draft = Draft::plain().signed();
        let name = ["content-digest", "signature-input", "signature"][which];
        let mut value = draft.get(name).unwrap().into_bytes();
        let position = position.index(value.len());
        value[position] ^= flip;
        let original = draft.clone();
        let slot = draft.headers.iter_mut().find(|(found, _)| found == name).unwrap();
        slot.1 = value;
        let verified = draft.parse().ok().and_then(|request| request.verify(&key()).ok());
        prop_assert!(verified.is_none_or(|call| call == self::verified(&original)));
    }

    #[test]
    fn hostile_fields_never_panic(input: Vec<u8>, signature: Vec<u8>, digest: Vec<u8>, text in "[ -~]{0,80}") {
        let mut draft = Draft::plain();
        for (name, value) in [("signature-input", input), ("signature", signature), ("content-digest", digest)] {
            draft.headers.push((name.into(), value));
        }
        draft.parse().unwrap_err();
        for field in [&text, &format!("a={text}"), &format!("a=(\"{text}\")"), &format!("a=();{text}")] {
            let _ = SignatureInput::parse(field).map(|input| input.parameters);
            let _ = NamedBytes::parse(field).map(|named| named.bytes);
        }
        let base = format!("\"{text}\": {text}\n\"@signature-params\": (\"{text}\");{text}");
        let _ = Lines::parse(base.as_bytes()).map(|lines| lines.parameters);
    }
}

/// Requests, and the headers that a signer by other hands gave them (`testdata/README.md`).
fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../testdata/requests.json")).unwrap()
}

fn scheme_of(url: &str) -> (Scheme, &str) {
    match url.split_once("://").unwrap() {
        ("https", rest) => (Scheme::Https, rest),
        ("http", rest) => (Scheme::Http, rest),
        (other, _) => panic!("{other}"),
    }
}

#[test]
fn the_vectors_that_clients_are_tested_with_are_signed_in_the_same_words_and_verify() {
    let vectors = vectors();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut seed = [0; 32];
    hex::decode_to_slice(text(&vectors["seed"]), &mut seed).unwrap();
    let signer = SigningKey::from_bytes(&seed);
    let public = PublicKey::parse(&signer.verifying_key().to_bytes()).unwrap();
    assert_eq!(public.id().to_string(), text(&vectors["key_id"]));
    let requests = vectors["requests"].as_array().unwrap();
    assert!(requests.len() >= 6);
    for vector in requests {
        let url = text(&vector["url"]);
        let (scheme, rest) = scheme_of(&url);
        let (authority, target) = rest.split_at(rest.find('/').unwrap());
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let given = vector["headers"].as_object().unwrap().iter();
        let headers = given.map(|(n, v)| (n.clone(), text(v).into_bytes()));
        let (method, body) = (text(&vector["method"]), text(&vector["body"]));
        let mut draft = Draft {
            method,
            authority: authority.to_owned(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers: headers.collect(),
            body: body.into_bytes(),
        };
        let nonce = text(&vector["nonce"]);
        let key_id = public.id().to_string();
        let parameters = SigningParameters {
            key_id: &key_id,
            created: UnixSeconds(vector["created"].as_u64().unwrap()),
            expires: None,
            nonce: &nonce,
        };
        let signed = draft.by(scheme, |request| {
            sign_request(request, &parameters, |base| signer.sign(base).to_bytes())
        });
        let signed = signed.unwrap();
        let name = &vector["name"];
        let expected = &vector["signed"];
        assert_eq!(signed.content_digest, expected["content-digest"], "{name}");
        assert_eq!(
            signed.signature_input, expected["signature-input"],
            "{name}"
        );
        assert_eq!(signed.signature, expected["signature"], "{name}");
        draft.set("content-digest", &signed.content_digest);
        draft.set("signature-input", &signed.signature_input);
        draft.set("signature", &signed.signature);
        let parsed = draft.by(scheme, SignedRequest::parse).unwrap();
        assert!(parsed.verify(&public).is_ok(), "{name}");
    }
}
