//! What vendors say of this machine's platform, as files of the site: `collateral/`, one file for each kind.
//!
//! In: certificates, revocation lists and answers of vendors' services, in the forms in which people have them. Out:
//! endorsements for the evidence of an opening. Whoever keeps the site chooses them; that does no harm, for a
//! verifier judges each by its vendor's signature. Nothing here asks a network; [`crate::pull`] does.
//!
//! A machine may bring some of them itself: a host's table of certificates, the certificate of its TPM's key. They stand in
//! front of what the site keeps.
//!
//! Kinds and their names: `docs/spec/record.cddl`, `endorsement-kind`.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_record::binding::Profile;
use countersign_record::cbor::Bytes;
use countersign_record::evidence::{Endorsement, EndorsementKind, Endorsements};
use countersign_verify::bare::{IntelCollateral, Piece, Vendor, pieces, vendor};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Largest file that is taken, in bytes (2 MiB). Intel's lists have up to 200 KiB.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// Most certificates towards a platform's key, as the specification has it.
const MAX_KEY_CERTIFICATES: usize = 8;

/// Endorsements that a site has, and those that its machine brought.
#[derive(Debug, Default, Clone)]
pub struct Collateral {
    kept: BTreeMap<EndorsementKind, Vec<u8>>,
    /// The certificate of the platform's key, from its TPM. The site keeps those of its issuers.
    key_certificate: Option<Vec<u8>>,
}

impl Collateral {
    /// Where they are.
    #[must_use]
    pub fn directory(site: &Path) -> PathBuf {
        site.join("collateral")
    }

    /// Those of a site; none where there is no directory.
    ///
    /// # Errors
    /// If a file cannot be read, or is longer than any is.
    pub fn read(site: &Path) -> anyhow::Result<Self> {
        let directory = Self::directory(site);
        let mut out = BTreeMap::new();
        for kind in EndorsementKind::ALL {
            let path = directory.join(kind.name());
            match fs::metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).context(path.display().to_string()),
                Ok(meta) if meta.len() > MAX_BYTES => {
                    bail!(
                        "{}: file is {} bytes, limit is {MAX_BYTES}",
                        path.display(),
                        meta.len()
                    )
                }
                Ok(_) => {}
            }
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            out.insert(*kind, bytes);
        }
        Ok(Self {
            kept: out,
            key_certificate: None,
        })
    }

    /// Takes in what a host gave beside its processor's report: nobody's word, so far. What is not known is left aside.
    ///
    /// # Errors
    /// If the table is none; nothing of it is taken then.
    pub fn take_host_table(&mut self, table: &[u8]) -> anyhow::Result<()> {
        if table.is_empty() {
            return Ok(());
        }
        let mut found = BTreeMap::new();
        for piece in pieces(table)? {
            let kind = match vendor(&piece) {
                Some(Vendor::AmdVek) => EndorsementKind::AmdVek,
                Some(Vendor::AmdIssuer) => EndorsementKind::AmdIssuer,
                Some(Vendor::AmdRoot) => EndorsementKind::AmdRoot,
                Some(Vendor::AmdCrl) => EndorsementKind::AmdCrl,
                Some(
                    Vendor::IntelSigner
                    | Vendor::IntelRoot
                    | Vendor::IntelTcbInfo
                    | Vendor::IntelQeIdentity
                    | Vendor::IntelPckCrl
                    | Vendor::IntelRootCrl,
                )
                | None => continue,
            };
            if found.insert(kind, piece.into_bytes()).is_some() {
                bail!("the table has two {kind}");
            }
        }
        self.kept.extend(found);
        Ok(())
    }

    /// Takes in the certificate of the platform's key.
    pub fn put_key_certificate(&mut self, certificate: Vec<u8>) {
        self.key_certificate = Some(certificate);
    }

    /// What is there.
    pub fn iter(&self) -> impl Iterator<Item = (EndorsementKind, &[u8])> {
        self.kept
            .iter()
            .map(|(kind, bytes)| (*kind, bytes.as_slice()))
    }

    /// Those that a profile has, in order.
    ///
    /// # Errors
    /// If one that it needs is not there.
    pub fn of(&self, profile: Profile) -> anyhow::Result<Vec<Endorsement>> {
        let Endorsements { needed, allowed } = profile.endorsements();
        if let Some(kind) = self.missing(profile) {
            bail!(
                "platform {profile} needs the endorsement {kind}, which is not in collateral/ of the site: \
                 fetch it from the vendor, and give it to `countersign collateral import`"
            );
        }
        let mut out = Vec::new();
        for kind in EndorsementKind::ALL {
            if !needed.contains(kind) && !allowed.contains(kind) {
                continue;
            }
            let all = if *kind == EndorsementKind::KeyCertificate {
                self.key_certificates()?
            } else {
                self.kept.get(kind).cloned().into_iter().collect()
            };
            out.extend(all.into_iter().map(|bytes| Endorsement {
                kind: *kind,
                bytes: Bytes(bytes),
            }));
        }
        Ok(out)
    }

    /// Certificates towards the platform's key, its own first.
    fn key_certificates(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut out: Vec<Vec<u8>> = self.key_certificate.iter().cloned().collect();
        if let Some(kept) = self.kept.get(&EndorsementKind::KeyCertificate) {
            let found = pieces(kept).context("collateral/key-certificate")?;
            out.extend(found.into_iter().map(Piece::into_bytes));
        }
        if out.len() > MAX_KEY_CERTIFICATES {
            bail!(
                "there are {} certificates towards the platform's key, {MAX_KEY_CERTIFICATES} are the most",
                out.len()
            );
        }
        Ok(out)
    }

    /// The first that a profile needs and that is not there.
    #[must_use]
    pub fn missing(&self, profile: Profile) -> Option<EndorsementKind> {
        let needed = profile.endorsements().needed;
        needed.iter().find(|kind| !self.has(**kind)).copied()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, kind: EndorsementKind) -> Option<&[u8]> {
        self.kept.get(&kind).map(Vec::as_slice)
    }

    /// Whether the site keeps one. Of the platform's key it keeps the issuers, without whom the key's own certificate leads
    /// nowhere.
    #[must_use]
    pub fn has(&self, kind: EndorsementKind) -> bool {
        self.kept.contains_key(&kind)
    }

    /// Takes files in, by their content. Nothing is taken if one of them is not known.
    ///
    /// # Errors
    /// If a file cannot be read, or is nothing that belongs here.
    pub fn import(site: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<EndorsementKind>> {
        let mut found = Found::default();
        for path in files {
            let shown = || path.display().to_string();
            let size = fs::metadata(path).with_context(shown)?.len();
            if size > MAX_BYTES {
                bail!(
                    "{}: file is {size} bytes, limit is {MAX_BYTES}",
                    path.display()
                );
            }
            let bytes = fs::read(path).with_context(shown)?;
            for piece in pieces(&bytes).with_context(shown)? {
                found.keep(piece).with_context(shown)?;
            }
        }
        let found = found.endorsements()?;
        Self::keep(site, &found)?;
        Ok(found.into_keys().collect())
    }

    /// Has pieces by their kinds, as [`Self::import`] would keep them.
    ///
    /// # Errors
    /// If one of them is nothing that belongs here, or two are of one kind.
    pub fn sorted(
        found: impl IntoIterator<Item = Piece>,
    ) -> anyhow::Result<BTreeMap<EndorsementKind, Vec<u8>>> {
        let mut out = Found::default();
        for piece in found {
            out.keep(piece)?;
        }
        out.endorsements()
    }

    /// Writes endorsements, each at once; what was there of their kinds is replaced.
    ///
    /// # Errors
    /// If the disk stands in the way.
    pub fn keep(site: &Path, found: &BTreeMap<EndorsementKind, Vec<u8>>) -> anyhow::Result<()> {
        let directory = Self::directory(site);
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        for (kind, bytes) in found {
            let path = directory.join(kind.name());
            let beside = directory.join(format!("{}.new", kind.name()));
            fs::write(&beside, bytes).with_context(|| beside.display().to_string())?;
            fs::rename(&beside, &path).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// What files brought.
#[derive(Debug, Default)]
struct Found {
    kinds: BTreeMap<EndorsementKind, Vec<u8>>,
    /// Certificates of whoever signs Intel's collateral, and of the root.
    signer: Option<Vec<u8>>,
    root: Option<Vec<u8>>,
    /// Certificates of issuers of Google's keys, in the order of the files.
    keys: Vec<Vec<u8>>,
}

impl Found {
    fn keep(&mut self, piece: Piece) -> anyhow::Result<()> {
        use EndorsementKind as Kind;
        if let Piece::Collateral(whole) = piece {
            return self.keep_whole(&whole);
        }
        let kind = match vendor(&piece) {
            Some(Vendor::AmdVek) => Kind::AmdVek,
            Some(Vendor::AmdIssuer) => Kind::AmdIssuer,
            Some(Vendor::AmdRoot) => Kind::AmdRoot,
            Some(Vendor::AmdCrl) => Kind::AmdCrl,
            Some(Vendor::IntelTcbInfo) => Kind::IntelTcbInfo,
            Some(Vendor::IntelQeIdentity) => Kind::IntelQeIdentity,
            Some(Vendor::IntelPckCrl) => Kind::IntelPckCrl,
            Some(Vendor::IntelRootCrl) => Kind::IntelRootCrl,
            // Both answers of Intel's service have the same chain, in their headers.
            Some(Vendor::IntelSigner) => return once(&mut self.signer, piece),
            Some(Vendor::IntelRoot) => return once(&mut self.root, piece),
            None if is_of_google(&piece) => {
                self.keys.push(piece.into_bytes());
                return Ok(());
            }
            None => bail!(
                "{} is no endorsement of a vendor that is known here",
                piece.what()
            ),
        };
        self.add(kind, piece.into_bytes())
    }

    /// Collateral in one file, as the answers of Intel's service would have it.
    fn keep_whole(&mut self, whole: &IntelCollateral) -> anyhow::Result<()> {
        use EndorsementKind as Kind;
        let answer = |name: &str, object: &[u8], signature: &[u8]| {
            let start = format!("{{\"{name}\":");
            let end = format!(",\"signature\":\"{}\"}}", hex::encode(signature));
            [start.as_bytes(), object, end.as_bytes()].concat()
        };
        let info = answer("tcbInfo", &whole.tcb_info, &whole.tcb_info_signature);
        let identity = answer(
            "enclaveIdentity",
            &whole.qe_identity,
            &whole.qe_identity_signature,
        );
        self.add(Kind::IntelTcbInfo, info)?;
        self.add(Kind::IntelTcbInfoChain, whole.tcb_info_chain.clone())?;
        self.add(Kind::IntelQeIdentity, identity)?;
        self.add(Kind::IntelQeIdentityChain, whole.qe_identity_chain.clone())?;
        self.add(Kind::IntelPckCrl, whole.pck_crl.clone())?;
        self.add(Kind::IntelRootCrl, whole.root_crl.clone())
    }

    fn add(&mut self, kind: EndorsementKind, bytes: Vec<u8>) -> anyhow::Result<()> {
        if self.kinds.insert(kind, bytes).is_some() {
            bail!("there is a second {kind}");
        }
        Ok(())
    }

    fn endorsements(mut self) -> anyhow::Result<BTreeMap<EndorsementKind, Vec<u8>>> {
        if !self.keys.is_empty() {
            let all: String = self.keys.iter().map(|der| armour(der)).collect();
            self.add(EndorsementKind::KeyCertificate, all.into_bytes())?;
        }
        match (self.signer.take(), self.root.take()) {
            (Some(signer), Some(root)) => {
                let chain = [armour(&signer), armour(&root)].concat().into_bytes();
                self.add(EndorsementKind::IntelTcbInfoChain, chain.clone())?;
                self.add(EndorsementKind::IntelQeIdentityChain, chain)?;
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => {
                bail!("of Intel's signer and root one is missing: give both certificates")
            }
        }
        Ok(self.kinds)
    }
}

/// By the name that issuers of Google's keys give themselves. Nothing is verified.
fn is_of_google(piece: &Piece) -> bool {
    matches!(piece, Piece::Certificate(der) if der.windows(6).any(|name| name == b"Google"))
}

fn once(slot: &mut Option<Vec<u8>>, piece: Piece) -> anyhow::Result<()> {
    if slot.is_some() {
        bail!("there is a second {} of one kind", piece.what());
    }
    *slot = Some(piece.into_bytes());
    Ok(())
}

fn armour(der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{digits}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture of the verifier's tests.
    fn capture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../verifier/evidence/vectors")
            .join(name)
    }

    #[test]
    fn what_a_file_is_shows_in_its_content_and_a_profile_has_all_it_needs() {
        let site = tempfile::tempdir().unwrap();
        let nothing = Collateral::read(site.path()).unwrap();
        assert_eq!(nothing.iter().count(), 0);
        let why = nothing.of(Profile::AzureSnp).unwrap_err().to_string();
        assert!(
            why.contains("amd-vek") && why.contains("collateral import"),
            "{why}"
        );
        assert_eq!(nothing.of(Profile::Tpm).unwrap(), []);
        let files = ["snp/roots/milan-ask.der", "snp/roots/milan-ark.der"].map(capture);
        let kept = Collateral::import(site.path(), &files).unwrap();
        assert_eq!(kept, [EndorsementKind::AmdIssuer, EndorsementKind::AmdRoot]);
        let some = Collateral::read(site.path()).unwrap();
        assert_eq!(
            some.missing(Profile::AzureSnp),
            Some(EndorsementKind::AmdVek)
        );
    }

    #[test]
    fn what_a_machine_brings_stands_in_front_of_what_the_site_keeps() {
        let kinds = |c: &Collateral, profile| -> Vec<(EndorsementKind, Vec<u8>)> {
            let found = c.of(profile).unwrap();
            found.into_iter().map(|e| (e.kind, e.bytes.0)).collect()
        };
        let site = tempfile::tempdir().unwrap();
        let chain = [
            "snp/captured/milan-v2-virtee.der",
            "snp/roots/milan-ask.der",
            "snp/roots/milan-ark.der",
        ];
        Collateral::import(site.path(), &chain.map(capture)).unwrap();
        let mut collateral = Collateral::read(site.path()).unwrap();
        let before = kinds(&collateral, Profile::Snp);
        // A table with another chip's certificate, and an entry that nobody knows.
        let other = fs::read(capture("snp/captured/milan-v2-azure.der")).unwrap();
        let vcek = *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
        let length = u32::try_from(other.len()).unwrap();
        let entry = [48_u32.to_le_bytes(), length.to_le_bytes()].concat();
        let table = [&vcek[..], &entry, &[0; 24], &other].concat();
        collateral.take_host_table(&table).unwrap();
        let after = kinds(&collateral, Profile::Snp);
        assert_eq!(after[0], (EndorsementKind::AmdVek, other));
        assert_eq!(after[1..], before[1..]);
        // One that is broken changes nothing.
        assert!(collateral.take_host_table(&table[..100]).is_err());
        assert!(collateral.take_host_table(b"certificates").is_err());
        assert_eq!(kinds(&collateral, Profile::Snp), after);
        collateral.take_host_table(&[]).unwrap();
        assert_eq!(kinds(&collateral, Profile::Snp), after);
    }

    #[test]
    fn the_certificate_of_a_platforms_key_comes_first_and_its_issuers_follow() {
        let site = tempfile::tempdir().unwrap();
        let chain = [
            "snp/captured/milan-v2-virtee.der",
            "snp/roots/milan-ask.der",
            "snp/roots/milan-ark.der",
        ];
        Collateral::import(site.path(), &chain.map(capture)).unwrap();
        let mut collateral = Collateral::read(site.path()).unwrap();
        collateral.put_key_certificate(b"of the key".to_vec());
        // Its own certificate leads nowhere without its issuers.
        let missing = collateral.missing(Profile::GcpSnp);
        assert_eq!(missing, Some(EndorsementKind::KeyCertificate));
        let issuers = fs::read(capture("snp/roots/milan-ask.der")).unwrap();
        let armoured = armour(&issuers).repeat(7);
        let path = Collateral::directory(site.path()).join("key-certificate");
        fs::write(&path, &armoured).unwrap();
        let mut collateral = Collateral::read(site.path()).unwrap();
        collateral.put_key_certificate(b"of the key".to_vec());
        let found = collateral.of(Profile::GcpSnp).unwrap();
        let keys: Vec<_> = found
            .iter()
            .filter(|e| e.kind == EndorsementKind::KeyCertificate)
            .map(|e| e.bytes.0.as_slice())
            .collect();
        assert_eq!(keys.len(), 8);
        assert_eq!(keys[..2], [&b"of the key"[..], &issuers]);
        // Profiles without such a key do not have it.
        assert_eq!(collateral.of(Profile::Snp).unwrap().len(), 3);
        fs::write(&path, armour(&issuers).repeat(8)).unwrap();
        let mut collateral = Collateral::read(site.path()).unwrap();
        collateral.put_key_certificate(b"of the key".to_vec());
        assert!(collateral.of(Profile::GcpSnp).is_err());
    }

    #[test]
    fn one_file_that_is_not_known_or_stands_there_twice_keeps_all_out() {
        let site = tempfile::tempdir().unwrap();
        let strange = site.path().join("strange");
        fs::write(&strange, "no certificate").unwrap();
        let root = capture("snp/roots/milan-ark.der");
        for files in [
            vec![root.clone(), strange],
            vec![root, capture("snp/roots/genoa-ark.der")],
        ] {
            assert!(Collateral::import(site.path(), &files).is_err());
            assert_eq!(Collateral::read(site.path()).unwrap().iter().count(), 0);
        }
    }

    #[test]
    fn intels_collateral_in_one_file_becomes_the_answers_of_its_service() {
        let site = tempfile::tempdir().unwrap();
        let file = capture("tdx/dcap-qvl/tdx_quote_collateral.json");
        let kept = Collateral::import(site.path(), &[file]).unwrap();
        assert_eq!(kept, Profile::Tdx.endorsements().needed);
        let read = Collateral::read(site.path()).unwrap();
        assert_eq!(read.of(Profile::Tdx).unwrap().len(), 6);
        let (_, info) = read.iter().next().unwrap();
        assert!(matches!(
            pieces(info).unwrap().as_slice(),
            [Piece::TcbInfo(_)]
        ));
    }
}
