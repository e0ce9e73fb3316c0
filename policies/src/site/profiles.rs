//! Disclosure profiles by name: what each opens of a log's values, and whose.
//!
//! In: the built-in names, and sections `[profiles.<name>]` of `countersign.toml`, which go into the
//! bundle as tenants do, so that those who sign it decide what an exporter may see. Out: [`Profile`]s.
//! Who may use which stands with the people ([`crate::site::people::Approver::profiles`]).
//!
//! The lists of fields are written out, each field in its place with its reason: a field that is new
//! to the format is in no profile but `everything` until somebody has thought about it.
//!
//! What a profile means for a value: `countersign_record::profile`. For people: `docs/profiles.md`.

use crate::problem::{Problem, Report, Source};
use crate::site::text::{is_plain_name, word};
use countersign_record::body::Classification;
use countersign_record::cbor_map;
use countersign_record::commitment::Field;
use countersign_record::digest::SubjectId;
use countersign_record::profile::Disclosed;
use serde::Deserialize;
use std::collections::BTreeMap;
use thiserror::Error;
use toml::Spanned;

/// A disclosure profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    opens: Disclosed,
    whose: Whose,
}

/// Whose values a profile opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of all that the export has.
    Everybody,
    /// Those of the calls of one subject, which has to be named.
    OneSubject,
}

/// A subject was named where none may be, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// The profile is of one subject, and none was named.
    #[error("profile {profile} opens the values of one subject; name the subject and its tenant")]
    Missing {
        /// The profile.
        profile: String,
    },
    /// The profile is of everybody.
    #[error("profile {profile} is not of one subject; leave the subject out")]
    Unwanted {
        /// The profile.
        profile: String,
    },
}

/// Names of the profiles that every gateway has.
pub const BUILT_IN: [&str; 5] = [
    EVERYTHING,
    "auditor-soc2",
    "incident",
    "data-subject",
    "nothing",
];

/// The profile of whoever names none.
pub const EVERYTHING: &str = "everything";

/// `auditor-soc2`: that controls were in place and worked, without what the calls were about where that is
/// confidential. Fields that are no content are opened of every call, whatever its classification, so only those are
/// here that the gateway or its people wrote.
const AUDITOR_SOC2: &[Field] = &[
    // Who took part. Not `session` and `claims`: a client and its token may say anything there.
    Field::Agent,
    Field::User,
    Field::Tenant,
    Field::PrincipalChain,
    // What people put their names to, and what the gateway noted of itself.
    Field::ApprovalStatement,
    Field::ErasureStatement,
    Field::HoldStatement,
    Field::StopStatement,
    Field::EventDetail,
    // Content, of public and internal calls alone: enough to see that the request was the caller's, that policy was asked
    // about it, that people saw what was sent, and what came back.
    Field::CallerProof,
    Field::Received,
    Field::Facts,
    Field::Preview,
    Field::Forwarded,
    Field::Egress,
    Field::Released,
    // Not `raw-result` and `transcript`: they have what redaction took out. Not `idempotency-key`: it says nothing about a control.
];

/// `incident`: everything that says what happened, how and through whom, of every class.
const INCIDENT: &[Field] = &[
    Field::Agent,
    Field::User,
    Field::Session,
    Field::CallerProof,
    Field::Received,
    Field::Forwarded,
    Field::RawResult,
    Field::Released,
    Field::Transcript,
    Field::Facts,
    Field::Idempotency,
    Field::Preview,
    Field::ApprovalStatement,
    Field::EventDetail,
    Field::Tenant,
    Field::Claims,
    Field::PrincipalChain,
    Field::Egress,
    Field::ErasureStatement,
    Field::StopStatement,
    // Not `hold-statement`: why lawyers keep something is theirs; what is kept stands in the entry.
];

/// `data-subject`: what a subject gave and got, of every class. Other people have rights in the rest.
const DATA_SUBJECT: &[Field] = &[
    // Who it was: the subject and the agent that acted for it.
    Field::Agent,
    Field::User,
    Field::Session,
    Field::Claims,
    Field::CallerProof,
    // What it gave.
    Field::Received,
    Field::Forwarded,
    Field::Idempotency,
    Field::Preview,
    // What it got. Not `raw-result` and `transcript`, which it did not get, and which may be about others.
    Field::Released,
    // Not `facts` and `principal-chain`, which name other people; not `egress`, which is the site's.
];

impl Profile {
    /// The built-in profile of this name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        let every = Classification::ALL.to_vec();
        let (opens, whose) = match name {
            EVERYTHING => (Disclosed::everything(), Whose::Everybody),
            "auditor-soc2" => {
                let classes = vec![Classification::Public, Classification::Internal];
                let opens = Disclosed::new(AUDITOR_SOC2.to_vec(), classes);
                (opens, Whose::Everybody)
            }
            "incident" => (Disclosed::new(INCIDENT.to_vec(), every), Whose::Everybody),
            "data-subject" => {
                let opens = Disclosed::new(DATA_SUBJECT.to_vec(), every);
                (opens, Whose::OneSubject)
            }
            "nothing" => (Disclosed::new(Vec::new(), Vec::new()), Whose::Everybody),
            _ => return None,
        };
        Some(Self {
            name: name.to_owned(),
            opens,
            whose,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose values it opens.
    #[must_use]
    pub fn whose(&self) -> Whose {
        self.whose
    }

    /// What it opens, in a sentence's words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let listed = |words: Vec<&str>| {
            if words.is_empty() {
                "nothing".to_owned()
            } else {
                words.join(", ")
            }
        };
        format!(
            "Profile {} opens {}; content of calls that are {}.",
            self.name,
            listed(self.opens.fields.iter().map(|f| f.name()).collect()),
            listed(self.opens.classes.iter().map(|c| c.name()).collect()),
        )
    }

    /// What an export under it promises. A profile of one subject opens nothing of anybody else.
    ///
    /// # Errors
    /// If a subject is named where none may be, or the other way round.
    pub fn disclosed(&self, subject: Option<SubjectId>) -> Result<Disclosed, SubjectError> {
        let profile = || self.name.clone();
        match (self.whose, subject) {
            (Whose::Everybody, None) => Ok(self.opens.clone()),
            (Whose::OneSubject, Some(subject)) => Ok(self.opens.clone().of_subject(subject)),
            (Whose::OneSubject, None) => Err(SubjectError::Missing { profile: profile() }),
            (Whose::Everybody, Some(_)) => Err(SubjectError::Unwanted { profile: profile() }),
        }
    }

    /// Whether a subject may be named at all.
    ///
    /// # Errors
    /// If the profile is not of one.
    pub fn expect_subject(&self) -> Result<(), SubjectError> {
        match self.whose {
            Whose::OneSubject => Ok(()),
            Whose::Everybody => Err(SubjectError::Unwanted {
                profile: self.name.clone(),
            }),
        }
    }

    /// A site's own profile as a bundle carries it.
    pub(crate) fn rule(&self) -> ProfileRule {
        ProfileRule {
            name: self.name.clone(),
            fields: self.opens.fields.clone(),
            classes: self.opens.classes.clone(),
        }
    }
}

cbor_map! {
    /// A site's own profile in a bundle.
    pub struct ProfileRule {
        /// Its name.
        1 => name: String,
        /// Fields that it opens, ascending.
        2 => fields: Vec<Field>,
        /// Classifications of the calls whose content it opens, ascending.
        3 => classes: Vec<Classification>,
    }
}

/// The profiles that a bundle carries, by name; nothing if they are not in the one form that `bundle build` writes.
pub(crate) fn of_rules(rules: Vec<ProfileRule>) -> Option<Vec<Profile>> {
    let ascending = rules
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a.name < b.name));
    let read = |rule: ProfileRule| {
        let ProfileRule {
            name,
            fields,
            classes,
        } = rule;
        let opens = Disclosed::new(fields.clone(), classes.clone());
        let in_form = opens.fields == fields && opens.classes == classes;
        (in_form && may_be_named(&name)).then_some(Profile {
            name,
            opens,
            whose: Whose::Everybody,
        })
    };
    let profiles = rules.into_iter().map(read).collect::<Option<Vec<_>>>()?;
    ascending.then_some(profiles)
}

/// A built-in name means the same everywhere.
fn may_be_named(name: &str) -> bool {
    is_plain_name(name) && !BUILT_IN.contains(&name)
}

/// `[profiles.<name>]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileSection {
    fields: Spanned<Vec<Spanned<String>>>,
    classes: Vec<Spanned<String>>,
}

/// Reads the site's own profiles, by name.
pub(super) fn profiles(
    source: Source<'_>,
    sections: &BTreeMap<String, ProfileSection>,
    report: &mut Report,
) -> Vec<Profile> {
    let fields: Vec<(&str, Field)> = Field::ALL.iter().map(|f| (f.name(), *f)).collect();
    let classes: Vec<(&str, Classification)> =
        Classification::ALL.iter().map(|c| (c.name(), *c)).collect();
    let mut out = Vec::new();
    for (name, section) in sections {
        let key = |last: &str| format!("profiles.{name}.{last}");
        if BUILT_IN.contains(&name.as_str()) {
            let problem = Problem::Duplicate {
                what: "profile",
                name: name.clone(),
                first: "every gateway".to_owned(),
            };
            report.at(source, section.fields.span(), problem);
        } else if !may_be_named(name) {
            let expected = "a name of 1 to 64 lower-case letters, digits and hyphens";
            report.value(source, section.fields.span(), "profiles", name, expected);
        }
        let (field, class) = (key("fields"), key("classes"));
        let listed = section.fields.get_ref().iter();
        let opened: Vec<Field> = listed
            .filter_map(|f| word(source, &field, f, &fields, report))
            .collect();
        let of: Vec<Classification> = section
            .classes
            .iter()
            .filter_map(|c| word(source, &class, c, &classes, report))
            .collect();
        out.push(Profile {
            name: name.clone(),
            opens: Disclosed::new(opened, of),
            whose: Whose::Everybody,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::profile::About;

    const SUBJECT: SubjectId = SubjectId([7; 32]);

    /// Which fields a profile opens of a call of this classification and of this subject's.
    fn opened(profile: &str, of: Classification) -> Vec<&'static str> {
        let profile = Profile::built_in(profile).unwrap();
        let subject = match profile.whose() {
            Whose::Everybody => None,
            Whose::OneSubject => Some(SUBJECT),
        };
        let about = About::Call {
            classification: Some(of),
            subject: Some(SUBJECT),
        };
        of_about(&profile.disclosed(subject).unwrap(), about)
    }

    fn of_about(disclosed: &Disclosed, about: About) -> Vec<&'static str> {
        let all = Field::ALL.iter();
        all.filter(|f| disclosed.opens(**f, about))
            .map(|f| f.name())
            .collect()
    }

    fn all_but(left_out: &[&str]) -> Vec<&'static str> {
        let all = Field::ALL.iter().map(|f| f.name());
        all.filter(|f| !left_out.contains(f)).collect()
    }

    #[test]
    fn every_built_in_profile_is_there_under_its_name() {
        for name in BUILT_IN {
            assert_eq!(Profile::built_in(name).unwrap().name(), name);
        }
        assert_eq!(Profile::built_in("auditor"), None);
    }

    #[test]
    fn everything_opens_every_field_and_nothing_opens_none() {
        for of in Classification::ALL {
            assert_eq!(opened("everything", *of), all_but(&[]));
            assert!(opened("nothing", *of).is_empty());
        }
    }

    #[test]
    fn an_auditor_sees_who_took_part_of_every_call_and_content_of_harmless_ones() {
        let who = [
            "agent",
            "user",
            "approval-statement",
            "event-detail",
            "tenant",
            "principal-chain",
            "erasure-statement",
            "hold-statement",
            "stop-statement",
        ];
        let left_out = [
            "session",
            "claims",
            "raw-result",
            "transcript",
            "idempotency-key",
        ];
        for of in [Classification::Public, Classification::Internal] {
            assert_eq!(opened("auditor-soc2", of), all_but(&left_out));
        }
        for of in [Classification::Confidential, Classification::Restricted] {
            assert_eq!(opened("auditor-soc2", of), who);
        }
    }

    #[test]
    fn an_auditor_sees_no_content_of_a_call_whose_classification_is_not_known() {
        let profile = Profile::built_in("auditor-soc2").unwrap();
        let about = About::Call {
            classification: None,
            subject: None,
        };
        let seen = of_about(&profile.disclosed(None).unwrap(), about);
        assert!(seen.contains(&"agent") && !seen.contains(&"received-input"));
    }

    #[test]
    fn an_incident_is_seen_whole_but_for_why_lawyers_keep_something() {
        for of in Classification::ALL {
            assert_eq!(opened("incident", *of), all_but(&["hold-statement"]));
        }
    }

    #[test]
    fn a_data_subject_sees_what_it_gave_and_got_and_nothing_of_others() {
        let seen = [
            "agent",
            "user",
            "session",
            "caller-proof",
            "received-input",
            "forwarded-input",
            "released-result",
            "idempotency-key",
            "preview",
            "claims",
        ];
        for of in Classification::ALL {
            assert_eq!(opened("data-subject", *of), seen);
        }
        let profile = Profile::built_in("data-subject").unwrap();
        let disclosed = profile.disclosed(Some(SUBJECT)).unwrap();
        for subject in [None, Some(SubjectId([8; 32]))] {
            let other = About::Call {
                classification: Some(Classification::Public),
                subject,
            };
            assert!(of_about(&disclosed, other).is_empty());
        }
        assert!(of_about(&disclosed, About::Other).is_empty());
    }

    #[test]
    fn a_subject_is_named_where_the_profile_is_of_one_and_nowhere_else() {
        for name in BUILT_IN {
            let profile = Profile::built_in(name).unwrap();
            let (with, without) = (profile.disclosed(Some(SUBJECT)), profile.disclosed(None));
            match profile.whose() {
                Whose::OneSubject => {
                    assert_eq!(with.unwrap().subject, Some(SUBJECT));
                    assert!(matches!(without, Err(SubjectError::Missing { .. })));
                }
                Whose::Everybody => {
                    assert!(matches!(with, Err(SubjectError::Unwanted { .. })));
                    assert_eq!(without.unwrap().subject, None);
                }
            }
        }
    }

    fn rule(name: &str) -> ProfileRule {
        ProfileRule {
            name: name.to_owned(),
            fields: vec![Field::Agent, Field::User],
            classes: vec![Classification::Public],
        }
    }

    #[test]
    fn a_bundles_profiles_are_those_that_were_built_into_it() {
        let profiles = of_rules(vec![rule("one"), rule("two")]).unwrap();
        let again: Vec<ProfileRule> = profiles.iter().map(Profile::rule).collect();
        assert_eq!(again, [rule("one"), rule("two")]);
    }

    #[test]
    fn a_bundles_profiles_in_another_form_are_refused() {
        let disordered = ProfileRule {
            fields: vec![Field::User, Field::Agent],
            ..rule("one")
        };
        for wrong in [
            vec![rule("incident")],
            vec![rule("No name")],
            vec![rule("two"), rule("one")],
            vec![rule("one"), rule("one")],
            vec![disordered],
        ] {
            assert_eq!(of_rules(wrong.clone()), None, "{wrong:?}");
        }
    }
}
