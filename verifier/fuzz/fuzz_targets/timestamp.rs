//! A timestamp token, an answer that brings one, and a pinned root. No panic; and a token is never accepted over a
//! digest that nobody stamped.
#![no_main]

use countersign_timestamps::exchange::{Nonce, token_of};
use countersign_timestamps::{Authority, Imprint, Token};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// The roots of the seeds.
static ROOTS: LazyLock<Vec<Authority>> = LazyLock::new(|| {
    [
        include_bytes!("../../timestamps/testdata/openssl/rsa-root.der").as_slice(),
        include_bytes!("../../timestamps/testdata/openssl/ec-root.der").as_slice(),
    ]
    .into_iter()
    .filter_map(|der| Authority::parse(der).ok())
    .collect()
});

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(ROOTS.len(), 2);
    let other = Imprint([0x5a; 32]);
    if let Ok(token) = Token::parse(bytes) {
        let _ = token.verify(token.imprint(), &ROOTS);
        // No seed is over this, and nobody here can sign.
        assert!(token.verify(other, &ROOTS).is_err());
    }
    let _ = token_of(bytes, &other, &Nonce([0; 16]));
    let _ = Authority::parse(bytes);
});
