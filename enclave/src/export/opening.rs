//! What an export opens: a profile's name with its meaning, and what has to be known of a call for it.
//!
//! In: a [`Profile`] and, where it is of one, a subject; from the plan's pass, the Decision Records
//! that the export will have. Out: for each entry, which of its values go along. The rule itself is
//! [`Disclosed::opens`], which the verifier calls, too.
//!
//! An intent says nothing of its call's classification; the record that settles it does, which
//! stands later. So the plan's pass notes it: a bit for each entry and classification that the
//! profile opens, and nothing at all where the profile does not ask.

use super::ExportFault;
use super::genuine::Signers;
use super::indexes::Indexes;
use countersign_policies::site::profiles::{Profile, SubjectError};
use countersign_record::body::{Base, Classification};
use countersign_record::commitment::Field;
use countersign_record::digest::{PublicKey, SubjectId, TenantId};
use countersign_record::entry::{Body, Entry};
use countersign_record::profile::{About, Disclosed};

/// What an export opens, under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    profile: String,
    disclosed: Disclosed,
}

impl Opening {
    /// What a profile opens; of one subject, where it is of one.
    ///
    /// # Errors
    /// If a subject is named where none may be, or the other way round.
    pub fn of(profile: &Profile, subject: Option<SubjectId>) -> Result<Self, SubjectError> {
        Ok(Self {
            disclosed: profile.disclosed(subject)?,
            profile: profile.name().to_owned(),
        })
    }

    /// What is opened of a log whose values are lost.
    pub(super) fn nothing() -> Self {
        Self {
            profile: "nothing".to_owned(),
            disclosed: Disclosed::new(Vec::new(), Vec::new()),
        }
    }

    pub(super) fn profile(&self) -> &str {
        &self.profile
    }

    pub(super) fn disclosed(&self) -> &Disclosed {
        &self.disclosed
    }

    /// Whether it depends on a call's classification what is opened of it.
    fn asks_for_class(&self) -> bool {
        !self.disclosed.opens_every_class()
            && !self.disclosed.classes.is_empty()
            && self.disclosed.fields.iter().any(|f| f.is_content())
    }
}

/// An opening, and of which classification the calls of intents turned out to be.
#[derive(Debug)]
pub(super) struct Opener {
    opening: Opening,
    /// Intents by their call's classification, of those that the profile opens; none where it does not ask.
    settled: Vec<(Classification, Indexes)>,
    signers: Signers,
}

impl Opener {
    /// An opener of values of the log that this identity key began.
    pub(super) fn new(opening: Opening, identity: PublicKey) -> Self {
        let classes: &[Classification] = match opening.asks_for_class() {
            true => &opening.disclosed.classes,
            false => &[],
        };
        let settled = classes.iter().map(|c| (*c, Indexes::default())).collect();
        Self {
            opening,
            settled,
            signers: Signers::new(identity),
        }
    }

    pub(super) fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Whether Decision Records have to be shown to it.
    pub(super) fn asks(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Takes the key of an epoch.
    ///
    /// # Errors
    /// If the identity key did not sign for it.
    pub(super) fn learn(&mut self, index: u64, base: &Base) -> Result<(), ExportFault> {
        self.signers.learn(index, base)
    }

    /// Notes the classification in an entry that the export will have, if that is a Decision Record and the profile asks.
    ///
    /// # Errors
    /// If it was changed on disk.
    pub(super) fn note(&mut self, index: u64, entry: &Entry<'_>) -> Result<(), ExportFault> {
        let Body::Decision(decision) = entry.body() else {
            return Ok(());
        };
        let (Some(intent), Some(handling)) = (&decision.intent, &decision.handling) else {
            return Ok(());
        };
        let mut settled = self.settled.iter_mut();
        if let Some((_, intents)) = settled.find(|(c, _)| *c == handling.classification) {
            self.signers.verify(index, entry)?;
            intents.add(intent.index);
        }
        Ok(())
    }

    /// Which fields of an entry are opened; `theirs` is the one tenant whose values the export may have.
    ///
    /// # Errors
    /// If the entry was changed on disk, or is another tenant's.
    pub(super) fn fields(
        &self,
        theirs: Option<TenantId>,
        index: u64,
        bytes: &[u8],
    ) -> Result<Fields<'_>, ExportFault> {
        let disclosed = &self.opening.disclosed;
        if disclosed.fields.is_empty() {
            return Ok(Fields::None);
        }
        if theirs.is_none() && *disclosed == Disclosed::everything() {
            return Ok(Fields::All);
        }
        let entry = Entry::parse(bytes).map_err(|source| ExportFault::Entry { index, source })?;
        let about = self.about(index, entry.body());
        let some = disclosed.fields.iter().any(|f| disclosed.opens(*f, about));
        if !some {
            return Ok(Fields::None);
        }
        // ORDER: what the entry says of itself counts after its signature; nothing of it was opened so far.
        self.signers.verify(index, &entry)?;
        let tenant = entry.place().tenant.as_ref().map(|t| t.tenant);
        // In a genuine log entries refer to their own tenant's alone; what led here may have been changed.
        if theirs.is_some() && tenant.is_some() && tenant != theirs {
            return Err(ExportFault::Foreign { index });
        }
        Ok(Fields::Some(disclosed, about))
    }

    fn about(&self, index: u64, body: &Body) -> About {
        let mut settled = self.settled.iter();
        let class = settled.find(|(_, intents)| intents.has(index));
        About::of(body, class.map(|(c, _)| *c))
    }
}

/// Which fields of an entry are opened.
#[derive(Debug)]
pub(super) enum Fields<'o> {
    /// None: its values are not even read.
    None,
    /// Those that the profile opens of it.
    Some(&'o Disclosed, About),
    /// All.
    All,
}

impl Fields<'_> {
    pub(super) fn has(&self, field: Field) -> bool {
        match self {
            Self::None => false,
            Self::Some(disclosed, about) => disclosed.opens(field, *about),
            Self::All => true,
        }
    }
}
