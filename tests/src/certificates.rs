//! An authority of the tests' own, made with `openssl`, and clients that believe it.
//!
//! In: a directory to work in. Out: certificates and keys as files; what a client does in handshakes.

use crate::process::run;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// An authority that issues certificates.
pub struct Ca {
    directory: PathBuf,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Pair {
    /// Puts this pair where another one is, as one who renews a certificate does: certificate first.
    ///
    /// # Panics
    /// If a file cannot be replaced.
    pub fn replace(&self, other: &Self) {
        for (from, to) in [
            (&self.certificate, &other.certificate),
            (&self.key, &other.key),
        ] {
            replace(to, &fs::read(from).expect("a file of the authority"));
        }
    }
}

/// Puts bytes in the place of a file, at once, with the permissions of a key.
///
/// # Panics
/// If the file cannot be written.
pub fn replace(file: &Path, bytes: &[u8]) {
    let beside = file.with_extension("new");
    fs::write(&beside, bytes).expect("a file can be written");
    chmod(&beside, 0o600);
    fs::rename(&beside, file).expect("a file can be renamed");
}

/// Sets a file's permissions.
///
/// # Panics
/// If they cannot be set.
pub fn chmod(file: &Path, mode: u32) {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(file, mode).expect("permissions can be set");
}

fn openssl(directory: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(directory);
    run(&mut command);
}

impl Ca {
    /// Makes one, in a directory that is there.
    #[must_use]
    pub fn make(directory: &Path) -> Self {
        openssl(
            directory,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=tests -keyout ca.key \
             -out ca.pem -addext keyUsage=critical,keyCertSign",
        );
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Its own certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Issues a certificate for these names, such as `DNS:localhost,IP:127.0.0.1`.
    #[must_use]
    pub fn issue(&self, name: &str, names: &str) -> Pair {
        self.issue_with(name, names, "")
    }

    /// Issues a certificate for the workload of this SPIFFE ID.
    #[must_use]
    pub fn issue_workload(&self, name: &str, id: &str) -> Pair {
        let usage = " -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=serverAuth,clientAuth";
        self.issue_with(name, &format!("URI:{id}"), usage)
    }

    fn issue_with(&self, name: &str, names: &str, more: &str) -> Pair {
        openssl(
            &self.directory,
            &format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key \
                 -out {name}.csr -addext subjectAltName={names} -addext basicConstraints=critical,CA:FALSE{more}"
            ),
        );
        openssl(
            &self.directory,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2 -out {name}.pem"
            ),
        );
        let pair = Pair {
            certificate: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        chmod(&pair.key, 0o600);
        pair
    }

    /// What a client does that believes this authority and shows a certificate, with the key of `with`.
    ///
    /// # Panics
    /// If a file cannot be read.
    #[must_use]
    pub fn client_showing(&self, certificates: &[&Pair], with: &Pair) -> Arc<ClientConfig> {
        let read = |pair: &&Pair| CertificateDer::from_pem_file(&pair.certificate).expect("PEM");
        let chain = certificates.iter().map(read).collect();
        let key = PrivateKeyDer::from_pem_file(&with.key).expect("a key");
        let key = default_provider().key_provider.load_private_key(key);
        let shown = CertifiedKey::new(chain, key.expect("a key"));
        let mut config = ClientConfig::clone(&self.client());
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown));
        Arc::new(config)
    }

    /// What a client does that believes this authority.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client_with(&[kx_group::X25519MLKEM768, kx_group::X25519])
    }

    /// The same with these key exchanges alone, in this order.
    ///
    /// # Panics
    /// If there is none that TLS 1.3 has.
    #[must_use]
    pub fn client_with(&self, groups: &[&'static dyn SupportedKxGroup]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_file(self.file()).expect("a certificate");
        roots.add(own).expect("a root");
        let provider = CryptoProvider {
            kx_groups: groups.to_vec(),
            ..default_provider()
        };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A client's side of a connection to an authority, before the first byte.
///
/// # Panics
/// If the authority's host is no name.
#[must_use]
pub fn knock(config: &Arc<ClientConfig>, authority: &str) -> ClientConnection {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    let name = host.to_owned().try_into().expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a client")
}
