//! A question about calls: how many Decision Records have these words, and whether that is all of them.
//!
//! In: text such as `capability=crm.erase,verdict=deny`. Out: a [`Query`], and of one record an [`Answer`].
//! Whether the number is provable is for the checks to say.

use countersign_record::body::Decision;
use thiserror::Error;

/// What a record may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Id of the capability.
    Capability,
    /// What policy said: `allow`, `deny`, `modify`, `step-up`, `defer`.
    Verdict,
    /// Code of the refusal.
    Code,
    /// The mode in which policy let it run.
    Mode,
    /// URN of the agent. It stands in disclosures only.
    Agent,
}

impl Key {
    const ALL: &'static [(&'static str, Self)] = &[
        ("capability", Self::Capability),
        ("verdict", Self::Verdict),
        ("code", Self::Code),
        ("mode", Self::Mode),
        ("agent", Self::Agent),
    ];
}

/// Why a question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// Not of the form `key=value`.
    #[error("{0} is not of the form key=value")]
    Form(String),
    /// A key that records do not have.
    #[error("{0} is none of capability, verdict, code, mode, agent")]
    Key(String),
    /// A key that stands twice.
    #[error("{0} stands twice")]
    Repeated(String),
    /// Nothing is asked.
    #[error("nothing is asked for")]
    Empty,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// As it was asked.
    pub text: String,
    pairs: Vec<(Key, String)>,
}

/// What a record answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It has all that is asked for.
    Yes,
    /// It has something else.
    No,
    /// It does not say: the value is withheld.
    Withheld,
}

impl Query {
    /// Reads a question.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut pairs: Vec<(Key, String)> = Vec::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| QueryError::Form(part.to_owned()))?;
            let (_, key) = Key::ALL
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| QueryError::Key(name.to_owned()))?;
            if pairs.iter().any(|(k, _)| k == key) {
                return Err(QueryError::Repeated(name.to_owned()));
            }
            pairs.push((*key, value.to_owned()));
        }
        if pairs.is_empty() {
            return Err(QueryError::Empty);
        }
        Ok(Self {
            text: text.to_owned(),
            pairs,
        })
    }

    /// The agent that is asked for.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| *key == Key::Agent)
            .map(|(_, value)| value.as_str())
    }

    /// What a record answers; `agent` says whether its disclosed agent is the one, if it is disclosed.
    #[must_use]
    pub fn ask(&self, decision: &Decision, agent: Option<bool>) -> Answer {
        let mut withheld = false;
        for (key, value) in &self.pairs {
            let same = match key {
                Key::Capability => decision.capability.as_ref().is_some_and(|c| c.id == *value),
                Key::Verdict => decision.verdict.name() == value,
                Key::Code => decision.code.as_ref() == Some(value),
                Key::Mode => decision
                    .policy
                    .as_ref()
                    .is_some_and(|p| p.effective.name() == value),
                Key::Agent => match agent {
                    Some(same) => same,
                    None => {
                        withheld = true;
                        continue;
                    }
                },
            };
            if !same {
                return Answer::No;
            }
        }
        if withheld {
            Answer::Withheld
        } else {
            Answer::Yes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_keys_that_records_have() {
        let error = Query::parse("capabilty=x").unwrap_err();
        assert_eq!(error, QueryError::Key("capabilty".to_owned()));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let error = Query::parse("verdict=deny,verdict=allow").unwrap_err();
        assert_eq!(error, QueryError::Repeated("verdict".to_owned()));
    }

    #[test]
    fn an_empty_question_is_none() {
        assert_eq!(Query::parse("").unwrap_err(), QueryError::Empty);
    }
}
