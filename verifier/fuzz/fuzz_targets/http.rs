//! Signed HTTP requests, written as text (method, authority, path, query, headers, empty line, body), and
//! signature bases by themselves: no panic, and no signature that the fuzzer makes up holds.
#![no_main]

use countersign_signatures::ed25519::PublicKey;
use countersign_signatures::http::{
    Header, HttpRequest, Scheme, SignedBase, SignedRequest, verify_base,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Nobody signs with this key, so nothing may hold under it.
    let Some(key) = key() else { return };
    let _ = verify_base(
        SignedBase {
            base: bytes,
            signature: &[0; 64],
        },
        &key,
    );
    let (head, body) = match bytes.windows(2).position(|w| w == b"\n\n") {
        Some(at) => (
            bytes.get(..at).unwrap_or_default(),
            bytes.get(at + 2..).unwrap_or_default(),
        ),
        None => (bytes, [].as_slice()),
    };
    let mut lines = head.split(|b| *b == b'\n');
    let mut text = || {
        lines
            .next()
            .and_then(|line| std::str::from_utf8(line).ok())
            .unwrap_or_default()
    };
    let (method, authority, path, query) = (text(), text(), text(), text());
    let headers: Vec<Header<'_>> = lines
        .filter_map(|line| {
            let at = line.iter().position(|b| *b == b':')?;
            let name = std::str::from_utf8(line.get(..at)?).ok()?;
            Some(Header {
                name,
                value: line.get(at + 2..)?,
            })
        })
        .collect();
    let query = (!query.is_empty()).then_some(query);
    let request = HttpRequest {
        method,
        scheme: Scheme::Https,
        authority,
        path,
        query,
        headers: &headers,
        body,
    };
    if let Ok(signed) = SignedRequest::parse(&request) {
        assert!(!signed.claimed_key_id().is_empty());
        assert!(signed.verify(&key).is_err());
    }
});

fn key() -> Option<PublicKey> {
    // The base point of RFC 8032, 5.1: y = 4/5.
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    PublicKey::parse(&bytes).ok()
}
