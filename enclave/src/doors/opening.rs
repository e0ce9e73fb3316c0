//! Under which profile a person exports, and whether they may.
//!
//! In: what the query names, the person, the signed bundle. Out: an [`Opening`], or a refusal in words.
//! Whoever names no profile asks for everything; a person who is limited to others is refused then, and
//! not given less in silence: the file would look like one that has nothing more.

use super::json;
use crate::export::Opening;
use crate::serve::Gateway;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use countersign_gateway::refusal::Code;
use countersign_policies::Content;
use countersign_policies::site::people::Approver;
use countersign_policies::site::profiles::{EVERYTHING, Profile, SubjectError};
use countersign_record::digest::TenantId;
use serde_json::json as object;
use thiserror::Error;

/// What a query says of what is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked<'q> {
    /// Name of the profile.
    pub(super) profile: Option<&'q str>,
    /// Name of the subject.
    pub(super) subject: Option<&'q str>,
}

/// Why nothing is opened.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum OpeningError {
    /// The person is limited to other profiles.
    #[error("this person may not export under profile {asked}; ask for {}", allowed.join(" or "))]
    NotAllowed {
        /// What was asked for.
        asked: String,
        /// What the person may have.
        allowed: Vec<String>,
    },
    /// There is no such profile.
    #[error("there is no profile {0}")]
    Unknown(String),
    /// A subject was named where none may be, or the other way round.
    #[error("{0}")]
    Subject(#[from] SubjectError),
    /// A subject was named without its tenant.
    #[error("name the subject's tenant, too")]
    NoTenant,
    /// Names of a log that was handed over cannot be looked up: the key for that was the other machine's.
    #[error("subjects of a log that was handed over cannot be looked up by name")]
    HandedOver,
    /// No call is recorded under the name.
    #[error("nobody of that name is known")]
    Nobody,
    /// The name cannot be looked up now.
    #[error("the log cannot be read")]
    Unreadable,
}

impl OpeningError {
    pub(super) fn response(&self) -> Response {
        let status = match self {
            Self::NotAllowed { .. } => {
                let body =
                    object!({ "code": Code::PolicyDenied.name(), "message": self.to_string() });
                return json(StatusCode::FORBIDDEN, body.to_string().into_bytes());
            }
            Self::Unknown(_) | Self::Subject(_) | Self::NoTenant | Self::HandedOver => {
                StatusCode::BAD_REQUEST
            }
            Self::Nobody => StatusCode::NOT_FOUND,
            Self::Unreadable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// The profile that is asked for, if the person may have it.
fn profile(
    content: &Content,
    person: &Approver,
    asked: Option<&str>,
) -> Result<Profile, OpeningError> {
    let asked = asked.unwrap_or(EVERYTHING);
    // ORDER: whoever may not have it is not told whether it exists.
    if !person.may_export_under(asked) {
        return Err(OpeningError::NotAllowed {
            asked: asked.to_owned(),
            allowed: person.profiles.clone().unwrap_or_default(),
        });
    }
    content
        .profile(asked)
        .ok_or_else(|| OpeningError::Unknown(asked.to_owned()))
}

/// What is opened of this gateway's own log, or of one that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whence {
    /// Its own.
    Own,
    /// That of a gateway that is gone.
    HandedOver,
}

/// What a person may have opened; `tenant` is the one whose entries are asked for, which is theirs.
pub(super) fn opening(
    gateway: &Gateway,
    person: &Approver,
    asked: Asked<'_>,
    (whence, tenant): (Whence, Option<TenantId>),
) -> Result<Opening, OpeningError> {
    let profile = profile(gateway.engine.content(), person, asked.profile)?;
    let Some(name) = asked.subject else {
        return Ok(Opening::of(&profile, None)?);
    };
    // ORDER: the profile has its say before anybody learns whether the name is known.
    profile.expect_subject()?;
    let tenant = tenant.ok_or(OpeningError::NoTenant)?;
    if whence == Whence::HandedOver {
        return Err(OpeningError::HandedOver);
    }
    let subject = gateway.subjects.find(tenant, name).map_err(|error| {
        crate::boot::tracing_line(&format!("a subject's key cannot be had: {error:#}"));
        OpeningError::Unreadable
    })?;
    let subject = subject.ok_or(OpeningError::Nobody)?;
    Ok(Opening::of(&profile, Some(subject))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::digest::PublicKey;

    fn person(profiles: Option<&[&str]>) -> Approver {
        Approver {
            id: "auditor".to_owned(),
            name: "Auditor".to_owned(),
            key: PublicKey([1; 32]),
            groups: vec!["exporter".to_owned()],
            tenants: vec!["north".to_owned()],
            capabilities: Vec::new(),
            profiles: profiles.map(|all| all.iter().map(|p| (*p).to_owned()).collect()),
            accounts: Vec::new(),
        }
    }

    #[test]
    fn a_limited_person_is_refused_everything_else_and_told_what_to_ask_for() {
        let limited = person(Some(&["auditor-soc2", "nothing"]));
        for asked in ["everything", "incident", "no-such"] {
            assert!(!limited.may_export_under(asked));
        }
        let error = OpeningError::NotAllowed {
            asked: "everything".to_owned(),
            allowed: limited.profiles.unwrap(),
        };
        assert_eq!(
            error.to_string(),
            "this person may not export under profile everything; ask for auditor-soc2 or nothing"
        );
        assert_eq!(error.response().status(), StatusCode::FORBIDDEN);
    }
}
