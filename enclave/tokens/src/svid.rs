//! Certificates of workloads: X.509-SVIDs (SPIFFE), over roots that a site pinned.
//!
//! In: the certificates that a client showed in its handshake, its own first, and the trust domains of the
//! bundle. Out: an [`Svid`]: which workload it names, and from when to when. That the client holds the key of the first
//! certificate is what the handshake showed; nothing here looks at it.
//!
//! Stricter than the standard where it leaves a choice: the certificates stand in order, each issued by the next;
//! the name has a path; roots have their time, too; a critical extension that is not known here (name constraints
//! among them) refuses the certificate. Nothing is asked about revocation: these certificates live for hours, and
//! whoever answers would be reached over the operator's wire.
//!
//! SPEC: SPIFFE-ID and X509-SVID, <https://github.com/spiffe/spiffe/tree/main/standards>; RFC 5280 6.1.

use countersign_certificates::der::Reader;
use countersign_certificates::pem::{self, PemError};
use countersign_certificates::{Certificate, CertificateError, DerError, Validity, usage};
use countersign_record::digest::sha256;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Longest SPIFFE ID, in bytes. SPEC: SPIFFE-ID 2.3.
pub const MAX_ID_BYTES: usize = 2048;

/// Longest name of a trust domain, in bytes. SPEC: SPIFFE-ID 2.3.
pub const MAX_DOMAIN_BYTES: usize = 255;

/// Most certificates that a client may show.
pub const MAX_CHAIN: usize = 6;

/// Chains that were judged and are remembered. At some 300 bytes each this is 1.2 MB (assumed).
const MAX_KNOWN: usize = 4096;

/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = b"\x55\x1d\x11";
/// 1.3.6.1.5.5.7.3.2
const CLIENT_AUTH: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x02";
/// `uniformResourceIdentifier` of a GeneralName.
const URI: u8 = 0x86;

/// `spiffe://<trust domain>/<path>`: the name of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    domain: usize,
}

impl SpiffeId {
    /// Takes the one spelling of a name that the standard allows; one without a path names no workload.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, NotASpiffeId> {
        let rest = text.strip_prefix("spiffe://").ok_or(NotASpiffeId)?;
        let (domain, path) = rest.split_once('/').ok_or(NotASpiffeId)?;
        let fits =
            text.len() <= MAX_ID_BYTES && is_domain(domain) && path.split('/').all(is_segment);
        if !fits {
            return Err(NotASpiffeId);
        }
        Ok(Self {
            text: text.to_owned(),
            domain: domain.len(),
        })
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        let rest = self.text.strip_prefix("spiffe://").unwrap_or_default();
        rest.get(..self.domain).unwrap_or_default()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text is no name of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not spiffe://, a trust domain and a path")]
pub struct NotASpiffeId;

fn is_domain(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-._".contains(&c);
    (1..=MAX_DOMAIN_BYTES).contains(&name.len()) && name.bytes().all(fits)
}

fn is_segment(segment: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(fits)
}

/// A trust domain and the authorities that may issue in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain {
    name: String,
    roots: Vec<Vec<u8>>,
}

/// Why something is no trust domain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrustDomainError {
    /// Its name.
    #[error("not the name of a trust domain: small letters, digits, '-', '.' and '_'")]
    Name,
    /// The text of its roots.
    #[error("the roots are not pem: {0}")]
    Pem(#[from] PemError),
    /// There are none.
    #[error("there is no root")]
    NoRoots,
    /// One of them.
    #[error("root {number} is no certificate of an authority: {reason}")]
    Root {
        /// Which, from 1.
        number: usize,
        /// Why.
        reason: CertificateError,
    },
}

impl TrustDomain {
    /// Takes a name, such as `bank.example`, and certificates in PEM.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn parse(name: &str, roots: &str) -> Result<Self, TrustDomainError> {
        if !is_domain(name) {
            return Err(TrustDomainError::Name);
        }
        let roots = pem::blocks(roots, pem::CERTIFICATE)?;
        if roots.is_empty() {
            return Err(TrustDomainError::NoRoots);
        }
        for (root, number) in roots.iter().zip(1..) {
            Certificate::parse(root)
                .and_then(|c| c.is_issuer())
                .map_err(|reason| TrustDomainError::Root { number, reason })?;
        }
        Ok(Self {
            name: name.to_owned(),
            roots,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a certificate that holds says of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svid {
    id: SpiffeId,
    from: u64,
    until: u64,
}

impl Svid {
    /// Which workload.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }
}

/// Why certificates name no workload. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SvidError {
    /// How many there are.
    #[error("there are {found} certificates, expected 1 to {MAX_CHAIN}")]
    Count {
        /// How many.
        found: usize,
    },
    /// One of them, or who issued it.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The names of the first.
    #[error("the certificate has not exactly one uri, or it is no spiffe id with a path")]
    Name,
    /// An issuer's name.
    #[error("an issuer's certificate is of another trust domain")]
    IssuerName,
    /// What the first may be used for.
    #[error("the certificate is not for clients: {0}")]
    Use(&'static str),
    /// The trust domain is none of the site's.
    #[error("trust domain {0} is not one of this site's")]
    Domain(String),
    /// No root of the trust domain issued it.
    #[error("no root of the trust domain issued the last certificate")]
    Root,
    /// Not now.
    #[error("the certificates are valid from {from} to {until}, the time is {at}")]
    Validity {
        /// From when all are.
        from: u64,
        /// Until when all are.
        until: u64,
        /// The time asked about.
        at: u64,
    },
}

/// The trust domains of a site, and the chains that were judged by them.
#[derive(Debug, Default)]
pub struct Workloads {
    domains: HashMap<String, TrustDomain>,
    known: Mutex<HashMap<[u8; 32], Arc<Svid>>>,
}

impl Workloads {
    /// Those of a bundle.
    #[must_use]
    pub fn new(domains: impl IntoIterator<Item = TrustDomain>) -> Self {
        let domains = domains.into_iter().map(|d| (d.name.clone(), d));
        Self {
            domains: domains.collect(),
            known: Mutex::default(),
        }
    }

    /// Which workload showed these certificates, its own first, at a time in milliseconds since 1970.
    ///
    /// What was once judged is remembered by all of its bytes; its time is looked at each time.
    ///
    /// # Errors
    /// Why it is none.
    pub fn judge(&self, shown: &[&[u8]], at: u64) -> Result<Arc<Svid>, SvidError> {
        let digests: Vec<u8> = shown.iter().flat_map(|c| sha256(c)).collect();
        let slot = sha256(&digests);
        let known = self.known().get(&slot).cloned();
        let svid = match known {
            Some(svid) => svid,
            None => {
                let svid = Arc::new(self.read(shown)?);
                let mut known = self.known();
                if known.len() >= MAX_KNOWN {
                    known.clear();
                }
                known.insert(slot, Arc::clone(&svid));
                svid
            }
        };
        let Svid { from, until, .. } = *svid;
        if (from..=until).contains(&at) {
            Ok(svid)
        } else {
            Err(SvidError::Validity { from, until, at })
        }
    }

    /// A panic elsewhere leaves the map whole: it only ever gains or loses entries.
    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Arc<Svid>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything but the time.
    fn read(&self, shown: &[&[u8]]) -> Result<Svid, SvidError> {
        let found = shown.len();
        if !(1..=MAX_CHAIN).contains(&found) {
            return Err(SvidError::Count { found });
        }
        let chain = shown.iter().map(|der| Certificate::parse(der));
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let (own, issuers) = chain.split_first().ok_or(SvidError::Count { found })?;
        let id = workload(own)?;
        let domain = self.domains.get(id.domain());
        let domain = domain.ok_or_else(|| SvidError::Domain(id.domain().to_owned()))?;
        let last = issuers.last().unwrap_or(own);
        let root = root_of(last, domain, count(issuers.len()))?;
        // From the root down, so that whoever made certificates up has one signature looked at, and not all of them.
        for (depth, (below, issuer)) in chain.iter().zip(issuers).enumerate().rev() {
            issuer.issued(below, count(depth))?;
            of_domain(issuer, domain)?;
        }
        let spans = chain.iter().map(Certificate::validity).chain([root]);
        let (from, until) = spans.fold((0, u64::MAX), |(from, until), v| {
            (from.max(v.from), until.min(v.until))
        });
        Ok(Svid { id, from, until })
    }
}

fn count(certificates: usize) -> u64 {
    u64::try_from(certificates).unwrap_or(u64::MAX)
}

/// The workload that a certificate names, whoever issued it: for a replay of what was judged once.
///
/// # Errors
/// If it names none, or is not for clients.
pub fn named(der: &[u8]) -> Result<SpiffeId, SvidError> {
    workload(&Certificate::parse(der)?)
}

/// The name in a workload's own certificate, if that may be used for what clients do.
fn workload(own: &Certificate<'_>) -> Result<SpiffeId, SvidError> {
    let extensions = own.extensions();
    let used = extensions.usage;
    let why = if extensions.constraints.as_ref().is_some_and(|c| c.issuer) {
        Some("it may issue others")
    } else if used.is_none_or(|u| u & usage::DIGITAL_SIGNATURE == 0) {
        Some("its key usage has no digitalSignature")
    } else if used.is_some_and(|u| u & (usage::CERTIFICATES | usage::LISTS) != 0) {
        Some("its key is for certificates or lists")
    } else if extensions
        .purposes
        .as_ref()
        .is_some_and(|p| !p.list.contains(&CLIENT_AUTH))
    {
        Some("its extended key usage has no clientAuth")
    } else {
        None
    };
    if let Some(why) = why {
        return Err(SvidError::Use(why));
    }
    if own.critical_besides(&[SUBJECT_ALT_NAME]) {
        return Err(CertificateError::CriticalExtension("a workload's certificate").into());
    }
    match uris(own)?.as_slice() {
        [uri] => SpiffeId::parse(uri).map_err(|_| SvidError::Name),
        _ => Err(SvidError::Name),
    }
}

/// An issuer that says which trust domain it is of says the right one.
fn of_domain(issuer: &Certificate<'_>, domain: &TrustDomain) -> Result<(), SvidError> {
    let own = format!("spiffe://{}", domain.name);
    let fits = |uri: &str| !uri.starts_with("spiffe:") || uri == own;
    match uris(issuer)?.into_iter().all(fits) {
        true => Ok(()),
        false => Err(SvidError::IssuerName),
    }
}

/// The time of the root that issued the last certificate, or is it.
fn root_of(
    last: &Certificate<'_>,
    domain: &TrustDomain,
    depth: u64,
) -> Result<Validity, SvidError> {
    for root in &domain.roots {
        let root = Certificate::parse(root)?;
        let shown = depth > 0 && root.whole() == last.whole();
        if shown || root.issued(last, depth).is_ok() {
            return Ok(root.validity());
        }
    }
    Err(SvidError::Root)
}

/// The URIs among the other names of a certificate.
fn uris<'a>(certificate: &Certificate<'a>) -> Result<Vec<&'a str>, SvidError> {
    let Some(extension) = certificate.extension(SUBJECT_ALT_NAME) else {
        return Ok(Vec::new());
    };
    let form = |e: DerError| SvidError::Certificate(e.into());
    let mut outer = Reader::new(extension.value);
    let mut names = outer.sequence("SubjectAltName").map_err(form)?;
    outer.end("SubjectAltName").map_err(form)?;
    let mut out = Vec::new();
    while !names.is_empty() {
        let name = names.any("GeneralName").map_err(form)?;
        if name.tag == URI {
            out.push(std::str::from_utf8(name.content).map_err(|_| SvidError::Name)?);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
