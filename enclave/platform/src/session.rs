//! Salted TPM sessions: authentication of commands, encryption of their first parameter.
//!
//! In: the storage key's public point. Out: HMACs over commands and responses, and AES-128-CFB
//! over parameters that carry secrets, so that nothing secret crosses the bus in clear.
//! The salt is agreed by ECDH with the storage key; without it the session key would be empty
//! and the encryption would hide nothing.
//!
//! SPEC: TPM 2.0 Part 1: 11.4.10.2 (KDFa), 11.4.10.3 (KDFe), 19.6 (HMACs), 21 (encryption),
//! C.6.1 (sharing a secret by ECDH).

use crate::error::TpmError;
use crate::policy::ALG_SHA256;
use crate::wire::Writer;
use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use hmac::{Hmac, Mac as _};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

/// `TPMA_SESSION.continueSession`: without it a session dies with its first command.
const CONTINUE: u8 = 0x01;
/// `TPMA_SESSION.decrypt`: the TPM decrypts the command's first parameter.
const DECRYPT: u8 = 0x20;
/// `TPMA_SESSION.encrypt`: the TPM encrypts the response's first parameter.
const ENCRYPT: u8 = 0x40;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// Authorizes by an (empty) authorization value.
    Hmac,
    /// Authorizes by a policy.
    Policy,
}

/// Which first parameters cross the bus encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protect {
    /// Neither: there is no secret, or no parameter that could be encrypted.
    Neither,
    /// That of the command.
    Command,
    /// That of the response.
    Response,
    /// Both.
    Both,
}

impl Protect {
    fn attributes(self) -> u8 {
        match self {
            Self::Neither => CONTINUE,
            Self::Command => CONTINUE | DECRYPT,
            Self::Response => CONTINUE | ENCRYPT,
            Self::Both => CONTINUE | ENCRYPT | DECRYPT,
        }
    }
}

/// The storage key's point, for agreeing salts.
pub(crate) struct SaltKey {
    pub(crate) public: p256::PublicKey,
    /// x as the TPM keeps it: this, not a padded form, goes into the salt's derivation.
    pub(crate) x: Vec<u8>,
}

/// A session about to be started: what goes into `TPM2_StartAuthSession`.
pub(crate) struct Opening {
    /// `TPM2B_ENCRYPTED_SECRET` content: our ephemeral point.
    pub(crate) encrypted_salt: Zeroizing<Vec<u8>>,
    /// `nonceCaller`.
    pub(crate) nonce: [u8; 32],
    salt: Zeroizing<[u8; 32]>,
}

impl Opening {
    /// Agrees a salt with the storage key.
    pub(crate) fn new(salt_key: &SaltKey) -> Result<Self, TpmError> {
        let ephemeral = ephemeral_key()?;
        let point = ephemeral.public_key().to_sec1_point(false);
        let (Some(x), Some(y)) = (point.x(), point.y()) else {
            return Err(TpmError::Entropy);
        };
        let malformed = |wrong| TpmError::Malformed {
            command: "TPM2_StartAuthSession",
            wrong,
        };
        let encrypted_salt = Writer::new()
            .sized(x)
            .sized(y)
            .finish()
            .map_err(malformed)?;
        let shared = ephemeral.diffie_hellman(&salt_key.public);
        let salt = kdfe(shared.raw_secret_bytes(), "SECRET", x, &salt_key.x);
        Ok(Self {
            encrypted_salt,
            nonce: random()?,
            salt,
        })
    }

    /// The session that the TPM started.
    pub(crate) fn established(self, handle: u32, nonce_tpm: Vec<u8>) -> Session {
        let key = kdfa(&self.salt, "ATH", &nonce_tpm, &self.nonce);
        Session {
            handle,
            key,
            nonce_caller: self.nonce,
            nonce_tpm,
            attributes: CONTINUE,
        }
    }
}

/// A session that a TPM holds for us. Flushed by whoever started it, also after an error.
pub(crate) struct Session {
    pub(crate) handle: u32,
    key: Zeroizing<[u8; 32]>,
    nonce_caller: [u8; 32],
    nonce_tpm: Vec<u8>,
    attributes: u8,
}

impl Session {
    /// Begins a command: new nonce, and the attributes for what must be encrypted.
    pub(crate) fn begin(&mut self, protect: Protect) -> Result<(), TpmError> {
        self.nonce_caller = random()?;
        self.attributes = protect.attributes();
        Ok(())
    }

    /// Encrypts the content of the command's first parameter in place, if this command does so.
    pub(crate) fn encrypt(&self, first: &mut [u8]) {
        if self.attributes & DECRYPT != 0 {
            let (key, mut register) = self.cipher(&self.nonce_caller, &self.nonce_tpm);
            for chunk in first.chunks_mut(16) {
                key.encrypt_block((&mut register).into());
                chunk
                    .iter_mut()
                    .zip(register)
                    .for_each(|(byte, pad)| *byte ^= pad);
                register
                    .iter_mut()
                    .zip(chunk.iter())
                    .for_each(|(slot, byte)| *slot = *byte);
            }
            register.zeroize();
        }
    }

    /// Decrypts the content of the response's first parameter in place, if this command does so.
    pub(crate) fn decrypt(&self, first: &mut [u8]) {
        if self.attributes & ENCRYPT != 0 {
            let (key, mut register) = self.cipher(&self.nonce_tpm, &self.nonce_caller);
            for chunk in first.chunks_mut(16) {
                key.encrypt_block((&mut register).into());
                let mut next = register;
                next.iter_mut()
                    .zip(chunk.iter())
                    .for_each(|(slot, byte)| *slot = *byte);
                chunk
                    .iter_mut()
                    .zip(register)
                    .for_each(|(byte, pad)| *byte ^= pad);
                register.zeroize();
                register = next;
            }
            register.zeroize();
        }
    }

    /// This session's part of the command's authorization area. SPEC: Part 1, 19.6.5.
    pub(crate) fn authorize(&self, command_hash: &[u8; 32]) -> Writer {
        let mac = keyed(&self.key)
            .chain_update(command_hash)
            .chain_update(self.nonce_caller)
            .chain_update(&self.nonce_tpm)
            .chain_update([self.attributes])
            .finalize()
            .into_bytes();
        Writer::new()
            .u32(self.handle)
            .sized(&self.nonce_caller)
            .u8(self.attributes)
            .sized(&mac)
    }

    /// Takes the TPM's new nonce and checks its code over the response. SPEC: Part 1, 19.6.13.
    pub(crate) fn verify_response(
        &mut self,
        response: &SessionResponse<'_>,
    ) -> Result<(), NotAuthentic> {
        self.nonce_tpm = response.nonce_tpm.to_vec();
        if response.attributes != self.attributes {
            return Err(NotAuthentic);
        }
        keyed(&self.key)
            .chain_update(response.hash)
            .chain_update(&self.nonce_tpm)
            .chain_update(self.nonce_caller)
            .chain_update([response.attributes])
            .verify_slice(response.mac)
            .map_err(|_| NotAuthentic)
    }

    /// Cipher and initial register for one parameter. SPEC: Part 1, 21.3.
    fn cipher(&self, newer: &[u8], older: &[u8]) -> (Aes128, [u8; 16]) {
        let material = kdfa(&self.key, "CFB", newer, older);
        let (mut key, mut register) = ([0u8; 16], [0u8; 16]);
        material
            .iter()
            .zip(key.iter_mut().chain(register.iter_mut()))
            .for_each(|(from, to)| *to = *from);
        let cipher = Aes128::new((&key).into());
        key.zeroize();
        (cipher, register)
    }
}

/// One session's part of a response.
pub(crate) struct SessionResponse<'a> {
    /// SHA-256 of response code, command code and parameters as received.
    pub(crate) hash: [u8; 32],
    pub(crate) nonce_tpm: &'a [u8],
    pub(crate) attributes: u8,
    pub(crate) mac: &'a [u8],
}

/// The response's code does not fit the session.
pub(crate) struct NotAuthentic;

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], TpmError> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|_| TpmError::Entropy)?;
    Ok(bytes)
}

/// A fresh P-256 key. One in 2^32 random strings is no scalar; a few attempts suffice for ever.
fn ephemeral_key() -> Result<p256::SecretKey, TpmError> {
    for _ in 0..8 {
        let bytes = Zeroizing::new(random::<32>()?);
        if let Ok(key) = p256::SecretKey::from_slice(bytes.as_slice()) {
            return Ok(key);
        }
    }
    Err(TpmError::Entropy)
}

/// HMAC-SHA-256 under a 32-byte key. HMAC fills shorter keys with zeros up to its block of 64
/// bytes, so giving it the filled block is the same and cannot fail.
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0u8; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::<Sha256>::new((&*block).into())
}

/// `KDFa` with HMAC-SHA-256, 256 bits (one block). SPEC: Part 1, 11.4.10.2.
fn kdfa(key: &[u8; 32], label: &str, context_u: &[u8], context_v: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut block = keyed(key)
        .chain_update(1u32.to_be_bytes())
        .chain_update(label.as_bytes())
        .chain_update([0])
        .chain_update(context_u)
        .chain_update(context_v)
        .chain_update(256u32.to_be_bytes())
        .finalize()
        .into_bytes();
    let mut out = Zeroizing::new([0u8; 32]);
    out.copy_from_slice(&block);
    block.as_mut_slice().zeroize();
    out
}

/// `KDFe` with SHA-256, 256 bits (one block). SPEC: Part 1, 11.4.10.3.
fn kdfe(shared_x: &[u8], label: &str, party_u: &[u8], party_v: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut block = Sha256::new()
        .chain_update(1u32.to_be_bytes())
        .chain_update(shared_x)
        .chain_update(label.as_bytes())
        .chain_update([0])
        .chain_update(party_u)
        .chain_update(party_v)
        .finalize();
    let mut out = Zeroizing::new([0u8; 32]);
    out.copy_from_slice(&block);
    block.as_mut_slice().zeroize();
    out
}

/// Parameters of `TPM2_StartAuthSession` after the handles: nonce, salt, type, AES-128-CFB, SHA-256.
pub(crate) fn start_parameters(kind: SessionKind, opening: &Opening) -> Writer {
    let session_type = match kind {
        SessionKind::Hmac => 0x00,
        SessionKind::Policy => 0x01,
    };
    Writer::new()
        .sized(&opening.nonce)
        .sized(&opening.encrypted_salt)
        .u8(session_type)
        .u16(0x0006) // TPM_ALG_AES
        .u16(128)
        .u16(0x0043) // TPM_ALG_CFB
        .u16(ALG_SHA256)
}
