//! Pseudonyms of subjects: who a call is about, without saying who.
//!
//! In: a tenant and a name. Out: the pseudonym that stands in the headers of entries. Each
//! subject has a random key of its own, which the log keeps sealed beside its entries; the row
//! is found by a keyed digest, so that no name stands on the disk in the clear. Whoever destroys the
//! key has unlinked the subject's entries from the name: the next call gets a fresh key.
//!
//! ```text
//! pseudonym = HMAC-SHA-256(subject's key, "countersign/subject/v1" || 00 || tenant (16) || name)
//! row name  = HMAC-SHA-256(lookup key, "countersign/subject-row/v1" || 00 || tenant (16) || name)
//! row       = sealed (subject's key (32) || pseudonym (32))
//! ```
//!
//! Spec: `docs/spec/record.md`, "Subjects".

use crate::keys::random;
use anyhow::Context as _;
use countersign_journal::{Journal, SubjectName};
use countersign_record::digest::{SubjectId, TenantId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Pseudonyms that are remembered. They are forgotten together; the log has them.
const MAX_KNOWN: usize = 100_000;

/// The pseudonyms of a gateway.
pub struct Subjects {
    journal: Arc<Journal>,
    lookup: Zeroizing<[u8; 32]>,
    known: Mutex<HashMap<(TenantId, String), SubjectId>>,
    /// Held while a key is made or destroyed, so that nobody who is known already waits for the disk.
    changing: Mutex<()>,
}

impl Subjects {
    /// Pseudonyms whose keys lie beside this log.
    #[must_use]
    pub fn new(journal: Arc<Journal>, lookup: Zeroizing<[u8; 32]>) -> Self {
        Self {
            journal,
            lookup,
            known: Mutex::default(),
            changing: Mutex::default(),
        }
    }

    /// The pseudonym of a subject; makes its key if it has none. Durable on return.
    ///
    /// # Errors
    /// If the key cannot be read or kept.
    pub fn of(&self, tenant: TenantId, name: &str) -> anyhow::Result<SubjectId> {
        if let Some(subject) = self.known(tenant, name) {
            return Ok(subject);
        }
        let _changing = self.changing();
        // ORDER: looked up again under the lock, so that two first calls for one person make one key.
        let subject = match self.find(tenant, name)? {
            Some(subject) => subject,
            None => self.make(tenant, name)?,
        };
        let place = (tenant, name.to_owned());
        let mut known = self.remembered();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(place, subject);
        Ok(subject)
    }

    /// The pseudonym of a subject, if it is in memory: of all that the bundle names, and of whoever called before.
    #[must_use]
    pub fn known(&self, tenant: TenantId, name: &str) -> Option<SubjectId> {
        let place = (tenant, name.to_owned());
        self.remembered().get(&place).copied()
    }

    /// The pseudonym of a subject that has one.
    ///
    /// # Errors
    /// If its row does not open.
    pub fn find(&self, tenant: TenantId, name: &str) -> anyhow::Result<Option<SubjectId>> {
        let row = self.row(tenant, name)?;
        let secret = self.journal.subject(row)?;
        secret.map(|secret| pseudonym_of(&secret)).transpose()
    }

    /// Destroys the key of a subject. Durable on return; nothing to do if it is gone already.
    ///
    /// # Errors
    /// If a row does not open or the log does not let it go.
    pub fn forget(&self, subject: SubjectId) -> anyhow::Result<()> {
        let _changing = self.changing();
        for (row, secret) in self.journal.subjects()? {
            if pseudonym_of(&secret)? == subject {
                self.journal.forget_subject(row)?;
            }
        }
        self.remembered().retain(|_, s| *s != subject);
        Ok(())
    }

    fn make(&self, tenant: TenantId, name: &str) -> anyhow::Result<SubjectId> {
        let key = random::<32>()?;
        let subject = SubjectId(digest(&key, "countersign/subject/v1", tenant, name)?);
        let mut secret = Zeroizing::new(Vec::with_capacity(64));
        secret.extend_from_slice(key.as_slice());
        secret.extend_from_slice(&subject.0);
        self.journal.put_subject(self.row(tenant, name)?, &secret)?;
        Ok(subject)
    }

    fn row(&self, tenant: TenantId, name: &str) -> anyhow::Result<SubjectName> {
        digest(&self.lookup, "countersign/subject-row/v1", tenant, name)
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<(TenantId, String), SubjectId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pseudonym_of(secret: &[u8]) -> anyhow::Result<SubjectId> {
    let subject = secret.get(32..).and_then(|s| s.try_into().ok());
    Ok(SubjectId(
        subject.context("a subject's row has another length")?,
    ))
}

fn digest(key: &[u8; 32], domain: &str, tenant: TenantId, name: &str) -> anyhow::Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(domain.as_bytes());
    mac.update(&[0]);
    mac.update(&tenant.0);
    mac.update(name.as_bytes());
    Ok(mac.finalize().into_bytes().into())
}
