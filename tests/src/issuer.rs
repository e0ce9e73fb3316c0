//! An OAuth issuer: the keys that a site pins, tokens, and proofs by the clients that they are bound to.

use crate::site::Site;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_record::digest::sha256;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The issuer's URL.
pub const ISSUER: &str = "https://login.example.org";

/// The gateway as its tokens name it.
pub const RESOURCE: &str = "https://gateway.example.org";

/// An issuer.
#[derive(Debug, Clone)]
pub struct Issuer {
    key: SigningKey,
}

/// A client's key, which its tokens can be bound to.
#[derive(Debug, Clone)]
pub struct HeldKey(SigningKey);

fn fresh() -> SigningKey {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("random bytes of the system");
    SigningKey::from_bytes(&seed)
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn x(key: &SigningKey) -> String {
    b64(key.verifying_key().to_bytes())
}

/// Seconds since 1970, now.
///
/// # Panics
/// Before 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// A signed text.
fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    format!("{text}.{}", b64(key.sign(text.as_bytes()).to_bytes()))
}

/// An object with members of another in their place; `null` takes one out.
fn merged(mut into: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            into.as_object_mut().expect("an object").remove(name);
        } else {
            into[name] = value.clone();
        }
    }
    into
}

impl Issuer {
    /// An issuer whose tokens count at this site, with client `desk` in the north and `signing` for the agent of the
    /// south, which signs. The bundle is to be built anew.
    ///
    /// # Panics
    /// If a file cannot be written.
    #[must_use]
    pub fn of(site: &Site) -> Self {
        let this = Self { key: fresh() };
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x(&this.key) });
        for directory in ["issuers", "jwks"] {
            std::fs::create_dir_all(site.file(directory)).expect("a site can be written");
        }
        site.write("jwks/corp.json", &json!({ "keys": [jwk] }).to_string());
        site.write(
            "issuers/corp.toml",
            &format!(
                "name = \"corp\"\nurl = \"{ISSUER}\"\naudience = \"{RESOURCE}\"\njwks = \"jwks/corp.json\"\n\
                 algorithms = [\"EdDSA\"]\nrequired_scope = \"tools\"\n"
            ),
        );
        let oauth = |client: &str| format!("[oauth]\nissuer = \"corp\"\nclient = \"{client}\"\n");
        site.write(
            "agents/desk.toml",
            &format!(
                "urn = \"agent:tests/desk@1\"\ntenant = \"north\"\n{}",
                oauth("desk")
            ),
        );
        let beta = std::fs::read_to_string(site.file("agents/beta.toml")).expect("beta is there");
        site.write("agents/beta.toml", &format!("{beta}{}", oauth("signing")));
        this
    }

    /// A token of client `desk`, good for five minutes, with these claims changed.
    #[must_use]
    pub fn token(&self, changes: Value) -> String {
        self.token_with(json!({}), changes)
    }

    /// The same with these members of the header changed.
    #[must_use]
    pub fn token_with(&self, header: Value, changes: Value) -> String {
        let (now, id) = (now(), crate::unique("jti"));
        let usual = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "k1" });
        let claims = json!({
            "iss": ISSUER, "aud": RESOURCE, "client_id": "desk", "sub": "desk",
            "iat": now, "exp": now + 300, "scope": "tools", "jti": id,
        });
        signed(
            &self.key,
            &merged(usual, &header),
            &merged(claims, &changes),
        )
    }

    /// A token that is bound to a key.
    #[must_use]
    pub fn bound(&self, key: &HeldKey, changes: Value) -> String {
        self.token(merged(
            json!({ "cnf": { "jkt": key.thumbprint() } }),
            &changes,
        ))
    }
}

impl HeldKey {
    /// A new key.
    #[must_use]
    pub fn new() -> Self {
        Self(fresh())
    }

    /// Its name. SPEC: RFC 7638, RFC 8037 A.3.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, x(&self.0));
        b64(sha256(canonical.as_bytes()))
    }

    /// A proof for a request to this URL with this token, with these claims changed.
    #[must_use]
    pub fn proof(&self, url: &str, token: &str, changes: Value) -> String {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x(&self.0) });
        let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk });
        let claims = json!({
            "jti": crate::unique("proof"), "htm": "POST", "htu": url,
            // Proofs of the second in which a gateway opened are refused; this lead is within the window.
            "iat": now() + 1,
            "ath": b64(sha256(token.as_bytes())),
        });
        signed(&self.0, &header, &merged(claims, &changes))
    }
}

impl Default for HeldKey {
    fn default() -> Self {
        Self::new()
    }
}
