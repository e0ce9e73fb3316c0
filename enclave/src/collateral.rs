//! What vendors say of this machine's platform, as files of the site: `collateral/`, one file for each kind.
//!
//! In: certificates, revocation lists and answers of vendors' services, in the forms in which people have them. Out:
//! endorsements for the evidence of an opening. Whoever keeps the site chooses them; that does no harm, for a
//! verifier judges each by its vendor's signature. Nothing here asks a network.
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

/// Endorsements that a site has.
#[derive(Debug, Default)]
pub struct Collateral(BTreeMap<EndorsementKind, Vec<u8>>);

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
        Ok(Self(out))
    }

    /// What is there.
    pub fn iter(&self) -> impl Iterator<Item = (EndorsementKind, &[u8])> {
        self.0.iter().map(|(kind, bytes)| (*kind, bytes.as_slice()))
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
        let fits = |kind: &EndorsementKind| needed.contains(kind) || allowed.contains(kind);
        let found = self.0.iter().filter(|(kind, _)| fits(kind));
        Ok(found
            .map(|(kind, bytes)| Endorsement {
                kind: *kind,
                bytes: Bytes(bytes.clone()),
            })
            .collect())
    }

    /// The first that a profile needs and that is not there.
    #[must_use]
    pub fn missing(&self, profile: Profile) -> Option<EndorsementKind> {
        let needed = profile.endorsements().needed;
        needed
            .iter()
            .find(|kind| !self.0.contains_key(kind))
            .copied()
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
        let directory = Self::directory(site);
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        for (kind, bytes) in &found {
            let path = directory.join(kind.name());
            let beside = directory.join(format!("{}.new", kind.name()));
            fs::write(&beside, bytes).with_context(|| beside.display().to_string())?;
            fs::rename(&beside, &path).with_context(|| path.display().to_string())?;
        }
        Ok(found.into_keys().collect())
    }
}

/// What files brought.
#[derive(Debug, Default)]
struct Found {
    kinds: BTreeMap<EndorsementKind, Vec<u8>>,
    /// Certificates of whoever signs Intel's collateral, and of the root.
    signer: Option<Vec<u8>>,
    root: Option<Vec<u8>>,
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
