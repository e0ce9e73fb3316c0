//! Key files of people and of development: one line of hexadecimal, readable by their owner only.
//!
//! In and out: files. Ed25519 keys are 32-byte seeds, the release key is a P-256 scalar, the
//! recovery key an X25519 scalar. A gateway's own keys never stand in such files.

use anyhow::{Context as _, bail};
use countersign_record::cose::Unsigned;
use countersign_record::digest::{PublicKey, Signature};
use ed25519_dalek::{Signer as _, SigningKey};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Fresh random bytes of the operating system.
///
/// # Errors
/// If the system gives none.
pub fn random<const N: usize>() -> anyhow::Result<Zeroizing<[u8; N]>> {
    let mut out = Zeroizing::new([0u8; N]);
    getrandom::fill(out.as_mut())
        .map_err(|e| anyhow::anyhow!("no random bytes from the system: {e}"))?;
    Ok(out)
}

/// Writes a new file that only its owner can read.
///
/// # Errors
/// If there is a file already, or it cannot be written.
pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| path.display().to_string())
}

/// Reads 32 secret bytes.
///
/// # Errors
/// If the file is readable by others, or is not one line of 64 hexadecimal digits.
pub fn read_secret(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let shown = path.display();
    let mode = fs::metadata(path)
        .with_context(|| format!("cannot read {shown}"))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        bail!(
            "{shown} is readable by others (mode {:o}); expected mode 600",
            mode & 0o777
        );
    }
    let text =
        Zeroizing::new(fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?);
    let mut out = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(text.trim(), out.as_mut())
        .map_err(|_| anyhow::anyhow!("{shown} is not one line of 64 hexadecimal digits"))?;
    Ok(out)
}

/// Reads an Ed25519 key.
///
/// # Errors
/// As [`read_secret`].
pub fn read_signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    Ok(SigningKey::from_bytes(&*read_secret(path)?))
}

/// The public half.
#[must_use]
pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// Signs a statement.
#[must_use]
pub fn sign_statement(key: &SigningKey, typ: &str, payload: Vec<u8>) -> Vec<u8> {
    let unsigned = Unsigned::new(typ, public(key).id(), payload);
    let signature = Signature(key.sign(&unsigned.to_be_signed()).to_bytes());
    unsigned.with_signature(signature)
}

/// Makes an Ed25519 key file.
///
/// # Errors
/// If there is a file already, or no randomness.
pub fn make_signing_key(path: &Path) -> anyhow::Result<PublicKey> {
    let seed = random::<32>()?;
    write_secret(path, &format!("{}\n", hex::encode(*seed)))?;
    Ok(public(&SigningKey::from_bytes(&seed)))
}
