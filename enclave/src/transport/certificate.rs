//! The gateway's certificate and its key: from files, and read again while the gateway runs.
//!
//! In: two PEM files of the operator's. Out: [`Certificate`], which answers handshakes with a pair that fits.
//! The files are read every [`RELOAD_INTERVAL`]; a pair that cannot be used is named in the log, and the one before
//! stays in use. Connections that are open keep what they began with.
//! The key is never printed, and no error carries anything of it.

use super::possession::PossessionAlone;
use super::{HTTP_1_1, VERSIONS, provider, server_name};
use crate::boot::tracing_line;
use countersign_policies::site::settings::TlsFiles;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroizing;

/// Time between two looks at the files.
///
/// They are compared by what is in them: times of files are coarse, and a mounted directory changes by a link.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Longest file, in bytes (1 MiB). A chain has a few KiB; this bounds what is read every two seconds.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Permissions that a key's file must not have: others may do nothing with it, the group at most read it.
///
/// The group, because services are commonly given a key in that way.
const FORBIDDEN_MODE: u32 = 0o037;

/// Why a certificate and its key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// A file is not there, or may not be read.
    #[error("cannot read {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::ErrorKind,
    },
    /// A file is longer than any certificate or key.
    #[error("{} is longer than {MAX_FILE_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Others on this machine could use the key.
    #[error(
        "the key's file {} has permissions {mode:03o}: others may do nothing with it and its group at most read it (640)",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is no certificate, or one that cannot be read.
    #[error("{} is not a chain of certificates in PEM, the gateway's own first", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no key, or one that cannot be used.
    #[error("{} is not a private key in PEM that TLS 1.3 can use", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// They are no pair.
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    NoPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// What a look at the files found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What is in use.
    Same,
    /// Another pair, which is in use from now on.
    Changed,
}

/// A certificate and its key.
pub struct Certificate {
    files: TlsFiles,
    used: RwLock<Used>,
}

/// A pair that fits, and the digest of the files that it was read from.
struct Used {
    pair: Arc<CertifiedKey>,
    digest: [u8; 32],
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub fn open(files: TlsFiles) -> Result<Self, CertificateError> {
        let texts = Texts::read(&files)?;
        let used = Used {
            pair: Arc::new(texts.pair(&files)?),
            digest: texts.digest(),
        };
        Ok(Self {
            files,
            used: RwLock::new(used),
        })
    }

    /// Looks at the files again, and uses them if they are others and a pair.
    ///
    /// # Errors
    /// Why they cannot be used; then nothing has changed.
    pub fn look(&self) -> Result<Look, CertificateError> {
        let texts = Texts::read(&self.files)?;
        let digest = texts.digest();
        if digest
            == self
                .used
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .digest
        {
            return Ok(Look::Same);
        }
        let pair = Arc::new(texts.pair(&self.files)?);
        *self.used.write().unwrap_or_else(PoisonError::into_inner) = Used { pair, digest };
        Ok(Look::Changed)
    }

    /// Looks at the files again and again, and says in the log what came of it, once for each change.
    pub async fn keep(self: Arc<Self>) {
        let mut known: Option<CertificateError> = None;
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let looking = Arc::clone(&self);
            let Ok(found) = tokio::task::spawn_blocking(move || looking.look()).await else {
                continue;
            };
            if found == Ok(Look::Changed) {
                tracing_line("a new certificate is in use");
            }
            let error = found.err();
            if let Some(error) = error.as_ref().filter(|e| known.as_ref() != Some(*e)) {
                tracing_line(&format!(
                    "error: the certificate before stays in use: {error}"
                ));
            }
            known = error;
        }
    }

    /// The pair that is in use.
    fn pair(&self) -> Arc<CertifiedKey> {
        let used = self.used.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&used.pair)
    }

    /// Whether the certificate that is in use is for this host.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let pair = self.pair();
        let parsed = pair.cert.first().map(ParsedCertificate::try_from);
        match (parsed, server_name(host)) {
            (Some(Ok(certificate)), Some(name)) => verify_server_name(&certificate, &name).is_ok(),
            (_, _) => false,
        }
    }

    /// What the gateway does in handshakes with these key exchanges.
    ///
    /// # Errors
    /// If the cryptography lacks what TLS 1.3 needs.
    pub(super) fn server(
        self: &Arc<Self>,
        groups: Vec<&'static dyn SupportedKxGroup>,
    ) -> Result<ServerConfig, rustls::Error> {
        let provider = provider(groups);
        let possession = PossessionAlone::new(provider.signature_verification_algorithms);
        let mut out = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)?
            .with_client_cert_verifier(Arc::new(possession))
            .with_cert_resolver(Arc::<Self>::clone(self));
        out.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // Every connection makes its own keys and meets the certificate that is in use; nothing is resumed,
        // and nothing is sent before the handshake is done.
        out.session_storage = Arc::new(NoServerSessionStorage {});
        out.send_tls13_tickets = 0;
        out.max_early_data_size = 0;
        Ok(out)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair())
    }
}

/// What stands in the files.
struct Texts {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl Texts {
    fn read(files: &TlsFiles) -> Result<Self, CertificateError> {
        Ok(Self {
            certificate: read(&files.certificate, |_| None)?,
            key: read(&files.key, |mode| {
                (mode & FORBIDDEN_MODE != 0).then(|| CertificateError::Exposed {
                    path: files.key.clone(),
                    mode,
                })
            })?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let each = [&self.certificate, &self.key].map(|text| Sha256::digest(text.as_slice()));
        Sha256::digest(each.concat()).into()
    }

    fn pair(&self, files: &TlsFiles) -> Result<CertifiedKey, CertificateError> {
        let no_certificate = || CertificateError::NoCertificate {
            path: files.certificate.clone(),
        };
        let no_key = || CertificateError::NoKey {
            path: files.key.clone(),
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| no_certificate())?;
        let first = chain.first().ok_or_else(no_certificate)?;
        let _readable = ParsedCertificate::try_from(first).map_err(|_| no_certificate())?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| no_key())?;
        let key = default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| no_key())?;
        let pair = CertifiedKey::new(chain, key);
        // A key whose public half is not known counts as none.
        pair.keys_match().map_err(|_| CertificateError::NoPair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        })?;
        Ok(pair)
    }
}

/// Reads a file, if its permissions are not refused.
fn read(
    path: &Path,
    refused: impl FnOnce(u32) -> Option<CertificateError>,
) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let unreadable = |e: io::Error| CertificateError::Unreadable {
        path: path.to_owned(),
        why: e.kind(),
    };
    let file = File::open(path).map_err(unreadable)?;
    // Of the file that is open, whatever has its name by now.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if let Some(error) = refused(mode) {
        return Err(error);
    }
    // One buffer of full size, so that no copy of a key is left where it grew.
    let mut text = Zeroizing::new(Vec::with_capacity(
        usize::try_from(MAX_FILE_BYTES).unwrap_or_default(),
    ));
    let read = file.take(MAX_FILE_BYTES).read_to_end(&mut text);
    let length = read.map_err(unreadable)?;
    if u64::try_from(length).unwrap_or(u64::MAX) >= MAX_FILE_BYTES {
        return Err(CertificateError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(text)
}
