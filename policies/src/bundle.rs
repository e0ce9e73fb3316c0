//! The policy bundle: a site's rules as one signed file.
//!
//! In: a [`Site`], or bytes and [`Pins`]. Out: an [`UnsignedBundle`] that signers sign, also
//! somewhere else, or a [`Bundle`] that may be put in force. The payload holds the texts of
//! the site's files, so that a bundle is read by the code that reads a site, and refused with
//! file and line; this gateway's own settings and all secrets stay outside.
//!
//! Format: `countersign_record::bundle`; what it calls `rules` is [`Rules`].

use crate::content::{Content, Head};
use crate::problem::{Problems, Report};
use crate::site::profiles::{Profile, ProfileRule, of_rules};
use crate::site::settings::Tenant;
use crate::site::{Site, SiteFiles};
use countersign_record::bundle::{
    BUNDLE_TYP, BundlePayload, BundleStatement, MAX_BUNDLE_BYTES, SignedBundle,
};
use countersign_record::cbor::{Bytes, Cbor, CborError};
use countersign_record::cbor_map;
use countersign_record::cose::{Sign1, Unsigned};
use countersign_record::digest::{ArtifactDigest, KeyId, PublicKey, Signature};
use countersign_signatures::ed25519;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

/// The format that is written and read here.
const FORMAT: u64 = 1;

/// Most signatures on a bundle.
pub const MAX_SIGNATURES: usize = 32;

cbor_map! {
    /// A file of the site.
    pub struct RuleFile {
        /// Path inside the site.
        1 => path: String,
        /// Text.
        2 => text: String,
    }
}

cbor_map! {
    /// Adapters, capabilities, policies, schema and disclosure profiles of a bundle.
    pub struct Rules {
        /// Files, in order of path, without `countersign.toml`.
        1 => files: Vec<RuleFile>,
        /// The Cedar schema that was generated from them.
        2 => schema: String,
        /// The site's own disclosure profiles, by name, if it has any.
        3 => profiles: Option<Vec<ProfileRule>>,
    }
}

/// What a gateway accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// Keys whose signatures count.
    pub signers: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: usize,
    /// Name of the site.
    pub name: String,
    /// Environment.
    pub environment: String,
    /// Lowest version; the version in force, once there is one.
    pub minimum_version: u64,
    /// The one bundle, where it is pinned.
    pub pinned: Option<ArtifactDigest>,
}

impl Pins {
    /// What these settings accept.
    #[must_use]
    pub fn of_settings(settings: &crate::site::settings::Settings) -> Self {
        let b = &settings.bundle;
        Self {
            signers: b.signers.clone(),
            threshold: b.threshold,
            name: settings.name.clone(),
            environment: b.environment.clone(),
            minimum_version: b.minimum_version,
            pinned: b.pinned,
        }
    }
}

/// Why bytes are no bundle for this gateway.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BundleError {
    /// It is too large.
    #[error("bundle is {found} bytes, limit is {MAX_BUNDLE_BYTES}")]
    TooLarge {
        /// Its length, in bytes.
        found: usize,
    },
    /// Bytes follow the bundle.
    #[error("{count} bytes follow the bundle")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// It is not of the format.
    #[error("bundle is malformed: {0}")]
    Malformed(CborError),
    /// It is of another version of the format.
    #[error("bundle has format {found}, expected {FORMAT}")]
    Format {
        /// The version that it has.
        found: u64,
    },
    /// Nobody signed it.
    #[error("bundle is not signed")]
    Unsigned,
    /// It has more signatures than are read.
    #[error("bundle has {found} signatures, limit is {MAX_SIGNATURES}")]
    TooManySignatures {
        /// How many it has.
        found: usize,
    },
    /// The pins ask for nothing, or for more signers than they name.
    #[error(
        "threshold is {threshold} of {signers} signers, expected at least 1 and no more than there are"
    )]
    Threshold {
        /// The threshold.
        threshold: usize,
        /// Different signers that are pinned.
        signers: usize,
    },
    /// A key signed that does not count here.
    #[error("signed by key {kid}, which is not a pinned signer")]
    UnknownSigner {
        /// The key.
        kid: KeyId,
    },
    /// A key signed twice.
    #[error("signed twice by key {kid}")]
    RepeatedSigner {
        /// The key.
        kid: KeyId,
    },
    /// A signature does not hold.
    #[error("signature of key {kid} does not hold")]
    BadSignature {
        /// The key.
        kid: KeyId,
    },
    /// A signature is over another bundle, or over another kind of statement.
    #[error("key {kid} signed something else than this bundle")]
    OtherStatement {
        /// The key.
        kid: KeyId,
    },
    /// Too few signed.
    #[error("signed by {found} of the pinned signers, expected {expected}")]
    BelowThreshold {
        /// How many did.
        found: usize,
        /// How many must.
        expected: usize,
    },
    /// It is not the pinned bundle.
    #[error("bundle is {found}, pinned is {expected}")]
    NotPinned {
        /// Its digest.
        found: ArtifactDigest,
        /// The pinned digest.
        expected: ArtifactDigest,
    },
    /// It is for another site.
    #[error("bundle is for site {found:?}, expected {expected:?}")]
    OtherSite {
        /// Its site.
        found: String,
        /// This site.
        expected: String,
    },
    /// It is for another environment.
    #[error("bundle is for environment {found:?}, expected {expected:?}")]
    OtherEnvironment {
        /// Its environment.
        found: String,
        /// This environment.
        expected: String,
    },
    /// It is older than what is accepted.
    #[error("bundle has version {found}, lowest accepted is {minimum}")]
    Downgraded {
        /// Its version.
        found: u64,
        /// The lowest accepted.
        minimum: u64,
    },
    /// Its files do not hold together.
    #[error("{0}")]
    Contents(Problems),
    /// Its schema is not the one that its capabilities make.
    #[error("schema of the bundle is not the one that its capabilities generate")]
    OtherSchema,
    /// Its callers and approvers are not those of its files.
    #[error("callers and approvers of the bundle are not those of its files")]
    OtherRegistry,
}

/// A bundle that may be put in force.
#[derive(Debug, Clone)]
pub struct Bundle {
    content: Arc<Content>,
    payload: Arc<[u8]>,
    digest: ArtifactDigest,
    signers: Vec<KeyId>,
}

impl Bundle {
    /// The bundle of a site, to be signed.
    ///
    /// # Errors
    /// If it would be too large to be opened.
    pub fn build(site: &Site) -> Result<UnsignedBundle, BundleError> {
        let files = site.files.0.iter().map(|(path, text)| RuleFile {
            path: path.clone(),
            text: text.clone(),
        });
        let Head {
            name,
            environment,
            version,
            tenants: _,
            profiles,
        } = &site.content.head;
        let own = profiles.iter().map(Profile::rule);
        let rules = Rules {
            files: files.collect(),
            schema: site.content.schema_text.clone(),
            profiles: (!profiles.is_empty()).then(|| own.collect()),
        };
        let payload = BundlePayload {
            format: FORMAT,
            name: name.clone(),
            environment: environment.clone(),
            version: *version,
            registry: site.content.registry(),
            rules: Bytes(rules.to_bytes()),
        };
        UnsignedBundle::of_payload(payload)
    }

    /// Opens a signed bundle: size, shape, signatures, pins, contents, in this order.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn open(bytes: &[u8], pins: &Pins) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { found: bytes.len() });
        }
        let signed = SignedBundle::from_bytes(bytes).map_err(malformed)?;
        let payload = BundlePayload::from_bytes(&signed.payload.0).map_err(malformed)?;
        let digest = ArtifactDigest::of(&signed.payload.0);
        let signers = verify_signatures(&signed.signatures, &payload.statement(), pins)?;
        check_pins(&payload, digest, pins)?;
        let content = read_content(&payload)?;
        Ok(Self {
            content: Arc::new(content),
            payload: signed.payload.0.into(),
            digest,
            signers,
        })
    }

    /// Digest of the payload; what entries name.
    #[must_use]
    pub fn digest(&self) -> ArtifactDigest {
        self.digest
    }

    /// The payload, which an export carries.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Keys that signed it.
    #[must_use]
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// What it contains.
    #[must_use]
    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }
}

fn malformed(e: CborError) -> BundleError {
    if let CborError::Trailing { count, .. } = e {
        BundleError::Trailing { count }
    } else {
        BundleError::Malformed(e)
    }
}

/// Every signature must be a pinned signer's, over this statement, and hold.
fn verify_signatures(
    signatures: &[Bytes],
    statement: &BundleStatement,
    pins: &Pins,
) -> Result<Vec<KeyId>, BundleError> {
    let pinned: BTreeSet<PublicKey> = pins.signers.iter().copied().collect();
    if pins.threshold == 0 || pins.threshold > pinned.len() {
        return Err(BundleError::Threshold {
            threshold: pins.threshold,
            signers: pinned.len(),
        });
    }
    if signatures.is_empty() {
        return Err(BundleError::Unsigned);
    }
    if signatures.len() > MAX_SIGNATURES {
        return Err(BundleError::TooManySignatures {
            found: signatures.len(),
        });
    }
    let mut signers = BTreeSet::new();
    for bytes in signatures {
        let sign1 = Sign1::parse(&bytes.0).map_err(malformed)?;
        let kid = sign1.kid();
        let key = pinned
            .iter()
            .find(|k| k.id() == kid)
            .ok_or(BundleError::UnknownSigner { kid })?;
        verify_one(&sign1, key, statement)?;
        if !signers.insert(kid) {
            return Err(BundleError::RepeatedSigner { kid });
        }
    }
    if signers.len() < pins.threshold {
        return Err(BundleError::BelowThreshold {
            found: signers.len(),
            expected: pins.threshold,
        });
    }
    Ok(signers.into_iter().collect())
}

fn verify_one(
    sign1: &Sign1<'_>,
    key: &PublicKey,
    statement: &BundleStatement,
) -> Result<(), BundleError> {
    let kid = sign1.kid();
    if sign1.typ() != BUNDLE_TYP || sign1.payload() != statement.to_bytes() {
        return Err(BundleError::OtherStatement { kid });
    }
    let message = sign1.to_be_signed();
    let signed = ed25519::Signed {
        message: &message,
        signature: &sign1.signature().0,
    };
    ed25519::PublicKey::parse(&key.0)
        .ok()
        .and_then(|key| key.verify(signed).ok())
        .ok_or(BundleError::BadSignature { kid })
}

fn check_pins(
    payload: &BundlePayload,
    digest: ArtifactDigest,
    pins: &Pins,
) -> Result<(), BundleError> {
    if payload.format != FORMAT {
        return Err(BundleError::Format {
            found: payload.format,
        });
    }
    if payload.name != pins.name {
        return Err(BundleError::OtherSite {
            found: payload.name.clone(),
            expected: pins.name.clone(),
        });
    }
    if payload.environment != pins.environment {
        let (found, expected) = (payload.environment.clone(), pins.environment.clone());
        return Err(BundleError::OtherEnvironment { found, expected });
    }
    if payload.version < pins.minimum_version {
        return Err(BundleError::Downgraded {
            found: payload.version,
            minimum: pins.minimum_version,
        });
    }
    match pins.pinned {
        Some(expected) if expected != digest => Err(BundleError::NotPinned {
            found: digest,
            expected,
        }),
        Some(_) | None => Ok(()),
    }
}

fn read_content(payload: &BundlePayload) -> Result<Content, BundleError> {
    let rules = Rules::from_bytes(&payload.rules.0).map_err(malformed)?;
    if !rules
        .files
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a.path < b.path))
    {
        return Err(BundleError::Malformed(CborError::OutOfRange {
            at: 0,
            what: "order of files",
        }));
    }
    let tenants = payload
        .registry
        .tenants
        .iter()
        .map(|t| Tenant {
            id: t.id,
            name: t.name.clone(),
        })
        .collect();
    let head = Head {
        name: payload.name.clone(),
        environment: payload.environment.clone(),
        version: payload.version,
        tenants,
        profiles: of_rules(rules.profiles.unwrap_or_default()).ok_or(BundleError::Malformed(
            CborError::OutOfRange {
                at: 0,
                what: "profiles",
            },
        ))?,
    };
    let files: BTreeMap<String, String> =
        rules.files.into_iter().map(|f| (f.path, f.text)).collect();
    let files = SiteFiles(files);
    let mut report = Report::default();
    files.check_places(&mut report);
    let content = Content::read(head, &files, &mut report);
    let content = report.finish(content).map_err(BundleError::Contents)?;
    if content.schema_text != rules.schema {
        return Err(BundleError::OtherSchema);
    }
    if content.registry() != payload.registry {
        return Err(BundleError::OtherRegistry);
    }
    Ok(content)
}

/// A bundle that waits for signatures.
#[derive(Debug, Clone)]
pub struct UnsignedBundle {
    payload: Vec<u8>,
    statement: BundleStatement,
    signatures: Vec<Bytes>,
}

/// Why a signature was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttachError {
    /// It does not hold over this bundle's statement.
    #[error("signature of key {kid} does not hold over this bundle")]
    BadSignature {
        /// The key.
        kid: KeyId,
    },
    /// The key has signed already.
    #[error("key {kid} has signed already")]
    Repeated {
        /// The key.
        kid: KeyId,
    },
}

impl UnsignedBundle {
    fn of_payload(payload: BundlePayload) -> Result<Self, BundleError> {
        let statement = payload.statement();
        let payload = payload.to_bytes();
        // Signatures are small; the reader counts them too.
        if payload.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge {
                found: payload.len(),
            });
        }
        Ok(Self {
            payload,
            statement,
            signatures: Vec::new(),
        })
    }

    /// Reads a bundle to which signatures are to be added. Nothing in it is trusted.
    ///
    /// # Errors
    /// If the bytes are no bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { found: bytes.len() });
        }
        let signed = SignedBundle::from_bytes(bytes).map_err(malformed)?;
        let payload = BundlePayload::from_bytes(&signed.payload.0).map_err(malformed)?;
        let mut bundle = Self::of_payload(payload)?;
        bundle.signatures = signed.signatures;
        Ok(bundle)
    }

    /// Digest of the payload; see [`crate::words::words`] for reading it to somebody.
    #[must_use]
    pub fn digest(&self) -> ArtifactDigest {
        self.statement.digest
    }

    /// What signers sign, in fields.
    #[must_use]
    pub fn statement(&self) -> &BundleStatement {
        &self.statement
    }

    /// What the bundle would put in force, for people who are about to sign it.
    ///
    /// # Errors
    /// If the files do not hold together.
    pub fn content(&self) -> Result<Content, BundleError> {
        let payload = BundlePayload::from_bytes(&self.payload).map_err(malformed)?;
        read_content(&payload)
    }

    /// How many signatures it has so far, good or bad.
    #[must_use]
    pub fn signature_count(&self) -> usize {
        self.signatures.len()
    }

    /// Which of these keys signed it.
    #[must_use]
    pub fn signed_by(&self, keys: &[PublicKey]) -> Vec<KeyId> {
        let signed = |key: &&PublicKey| {
            self.signatures.iter().any(|bytes| {
                Sign1::parse(&bytes.0).is_ok_and(|s| {
                    s.kid() == key.id() && verify_one(&s, key, &self.statement).is_ok()
                })
            })
        };
        keys.iter().filter(signed).map(PublicKey::id).collect()
    }

    /// The bytes that this key signs, here or somewhere else.
    #[must_use]
    pub fn to_be_signed(&self, key: PublicKey) -> Vec<u8> {
        self.unsigned(key).to_be_signed()
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// If it does not hold, or the key has signed already.
    pub fn attach(&mut self, key: PublicKey, signature: Signature) -> Result<(), AttachError> {
        let kid = key.id();
        let bytes = self.unsigned(key).with_signature(signature);
        Sign1::parse(&bytes)
            .ok()
            .and_then(|s| verify_one(&s, &key, &self.statement).ok())
            .ok_or(AttachError::BadSignature { kid })?;
        let same = |b: &Bytes| Sign1::parse(&b.0).is_ok_and(|s| s.kid() == kid);
        if self.signatures.iter().any(same) {
            return Err(AttachError::Repeated { kid });
        }
        self.signatures.push(Bytes(bytes));
        Ok(())
    }

    /// Signs with a key that is at hand.
    ///
    /// # Errors
    /// If the signature does not hold, or the key has signed already.
    pub fn sign(
        &mut self,
        key: PublicKey,
        signer: impl FnOnce(&[u8]) -> Signature,
    ) -> Result<(), AttachError> {
        let signature = signer(&self.to_be_signed(key));
        self.attach(key, signature)
    }

    /// The bundle as a file, with the signatures that it has so far.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        SignedBundle {
            payload: Bytes(self.payload.clone()),
            signatures: self.signatures.clone(),
        }
        .to_bytes()
    }

    fn unsigned(&self, key: PublicKey) -> Unsigned {
        Unsigned::new(BUNDLE_TYP, key.id(), self.statement.to_bytes())
    }
}
