//! Disclosure profiles: which values an export promises to open, and whose.
//!
//! In: a [`Disclosed`], which stands in every manifest, and what an entry is about. Out:
//! whether a field's value belongs into the export. Whoever writes exports and whoever judges
//! them call [`Disclosed::opens`], so that "withheld" means the same to both. The records are
//! byte-identical under every profile.
//!
//! Spec: `docs/spec/export.md`, "Disclosures"; CDDL `disclosed`.

use crate::body::Classification;
use crate::cbor_map;
use crate::commitment::Field;
use crate::digest::SubjectId;
use crate::entry::Body;

cbor_map! {
    /// What an export opens.
    pub struct Disclosed {
        /// Fields that are opened, ascending.
        1 => fields: Vec<Field>,
        /// Classifications of calls whose values are opened, ascending.
        2 => classes: Vec<Classification>,
        /// If given: of calls, those of this subject alone are opened, and nothing that belongs to no call.
        3 => subject: Option<SubjectId>,
    }
}

/// What an entry is about, as far as a profile asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A call.
    Call {
        /// Classification in the Decision Record that settles the call, where there is one and it says so.
        classification: Option<Classification>,
        /// The caller's pseudonym.
        subject: Option<SubjectId>,
    },
    /// No call.
    Other,
}

impl About {
    /// What an entry is about; `settled` is the classification in the call's Decision Record, for an intent.
    #[must_use]
    pub fn of(body: &Body, settled: Option<Classification>) -> Self {
        match body {
            Body::Intent(b) => Self::Call {
                classification: settled,
                subject: b.caller.subject,
            },
            Body::Decision(b) => Self::Call {
                classification: b.handling.as_ref().map(|h| h.classification),
                subject: b.caller.subject,
            },
            Body::Enrol(_)
            | Body::Base(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Close(_)
            | Body::Hold(_)
            | Body::Stop(_) => Self::Other,
        }
    }
}

impl Disclosed {
    /// Every field of every entry.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            fields: Field::ALL.to_vec(),
            classes: Classification::ALL.to_vec(),
            subject: None,
        }
    }

    /// These fields of these classifications, in their one order.
    #[must_use]
    pub fn new(mut fields: Vec<Field>, mut classes: Vec<Classification>) -> Self {
        fields.sort_unstable();
        fields.dedup();
        classes.sort_unstable();
        classes.dedup();
        Self {
            fields,
            classes,
            subject: None,
        }
    }

    /// The same, of one subject alone.
    #[must_use]
    pub fn of_subject(self, subject: SubjectId) -> Self {
        Self {
            subject: Some(subject),
            ..self
        }
    }

    /// Whether values of calls are opened whatever their classification.
    #[must_use]
    pub fn opens_every_class(&self) -> bool {
        Classification::ALL.iter().all(|c| self.classes.contains(c))
    }

    /// Whether a value is opened.
    ///
    /// A value of a call that has no classification is opened only where every class is: it may be of any.
    #[must_use]
    pub fn opens(&self, field: Field, about: About) -> bool {
        if !self.fields.contains(&field) {
            return false;
        }
        match about {
            About::Other => self.subject.is_none(),
            About::Call {
                classification,
                subject,
            } => {
                let ours = self.subject.is_none() || self.subject == subject;
                let class = match classification {
                    Some(class) => self.classes.contains(&class),
                    None => self.opens_every_class(),
                };
                ours && (class || !field.is_content())
            }
        }
    }
}

impl Field {
    /// Whether it is content of a call, to which the call's classification applies. The others say who took part.
    ///
    /// A caller's proof is content: the digest of the request that it covers has no salt.
    #[must_use]
    pub fn is_content(self) -> bool {
        match self {
            Self::CallerProof
            | Self::Received
            | Self::Forwarded
            | Self::RawResult
            | Self::Released
            | Self::Transcript
            | Self::Facts
            | Self::Idempotency
            | Self::Preview
            | Self::Egress => true,
            Self::Agent
            | Self::User
            | Self::Session
            | Self::ApprovalStatement
            | Self::EventDetail
            | Self::Tenant
            | Self::Claims
            | Self::PrincipalChain
            | Self::ErasureStatement
            | Self::HoldStatement
            | Self::StopStatement => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: SubjectId = SubjectId([1; 32]);

    fn call(classification: Option<Classification>) -> About {
        About::Call {
            classification,
            subject: Some(SUBJECT),
        }
    }

    fn up_to_confidential() -> Disclosed {
        let classes = vec![
            Classification::Public,
            Classification::Internal,
            Classification::Confidential,
        ];
        Disclosed::new(Field::ALL.to_vec(), classes)
    }

    #[test]
    fn everything_opens_every_field_of_every_entry() {
        for field in Field::ALL {
            for about in [
                call(None),
                call(Some(Classification::Restricted)),
                About::Other,
            ] {
                assert!(Disclosed::everything().opens(*field, about), "{field}");
            }
        }
    }

    #[test]
    fn a_field_that_is_not_listed_is_not_opened() {
        let agents = Disclosed::new(vec![Field::Agent], Classification::ALL.to_vec());
        assert!(agents.opens(Field::Agent, call(None)));
        assert!(!agents.opens(Field::Received, call(None)));
    }

    #[test]
    fn content_of_another_classification_is_not_opened() {
        let restricted = call(Some(Classification::Restricted));
        assert!(!up_to_confidential().opens(Field::Received, restricted));
        assert!(up_to_confidential().opens(Field::Agent, restricted));
        assert!(
            up_to_confidential().opens(Field::Received, call(Some(Classification::Confidential)))
        );
    }

    #[test]
    fn content_of_a_call_without_classification_is_opened_only_where_every_class_is() {
        assert!(!up_to_confidential().opens(Field::Received, call(None)));
        assert!(Disclosed::everything().opens(Field::Received, call(None)));
    }

    #[test]
    fn a_subject_sees_its_own_calls_and_nothing_else() {
        let own = Disclosed::everything().of_subject(SUBJECT);
        assert!(own.opens(Field::Received, call(None)));
        let other = About::Call {
            classification: None,
            subject: Some(SubjectId([2; 32])),
        };
        let nobody = About::Call {
            classification: None,
            subject: None,
        };
        for about in [other, nobody, About::Other] {
            assert!(!own.opens(Field::EventDetail, about), "{about:?}");
        }
    }
}
