//! What one argument of a capability may be, beyond its schema.
//!
//! In: declared rules when a site is loaded, a typed value when a call comes. Out: the first
//! rule that the value breaks. A pattern always stands for the whole value. Rules for an
//! absent argument do not apply; whether it may be absent is the schema's matter.

use crate::address;
use crate::endpoint::{Endpoint, EndpointList, Host};
use crate::input::{InputType, Value};
use crate::shape::Shape;
use regex::{Regex, RegexBuilder};
use std::sync::Arc;
use thiserror::Error;

/// Largest compiled pattern, in bytes (1 MiB). Bounds memory; matching is linear in the text.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

/// Characters that a text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Blank to tilde.
    AsciiPrintable,
    /// Letters and digits of ASCII.
    AsciiAlphanumeric,
    /// Letters, digits and underscores of ASCII.
    AsciiIdentifier,
    /// Digits of ASCII.
    Digits,
    /// Anything but control characters.
    NoControls,
}

impl Alphabet {
    /// Every alphabet and its word in a site file.
    pub(crate) const WORDS: [(&'static str, Self); 5] = [
        ("ascii_printable", Self::AsciiPrintable),
        ("ascii_alphanumeric", Self::AsciiAlphanumeric),
        ("ascii_identifier", Self::AsciiIdentifier),
        ("digits", Self::Digits),
        ("no_controls", Self::NoControls),
    ];

    fn takes(self, c: char) -> bool {
        match self {
            Self::AsciiPrintable => c.is_ascii_graphic() || c == ' ',
            Self::AsciiAlphanumeric => c.is_ascii_alphanumeric(),
            Self::AsciiIdentifier => c.is_ascii_alphanumeric() || c == '_',
            Self::Digits => c.is_ascii_digit(),
            Self::NoControls => !c.is_control(),
        }
    }
}

/// A pattern that stands for a whole value.
#[derive(Debug, Clone)]
pub struct WholePattern {
    text: String,
    regex: Regex,
}

impl WholePattern {
    /// Compiles a pattern and anchors it.
    ///
    /// # Errors
    /// In words, why it is none.
    pub fn compile(text: &str) -> Result<Self, String> {
        // By itself first: `a)|(?:b` would otherwise close the group that anchors it.
        let alone = bounded(text)?;
        drop(alone);
        let regex = bounded(&format!(r"\A(?:{text})\z"))?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    /// The pattern as declared.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A pattern of bounded size.
pub(crate) fn bounded(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map_err(|e| format!("not one: {}", e.to_string().replace('\n', " ").trim()))
}

/// Room for the states of several patterns while they are searched, in bytes (16 MiB). With less it would begin anew over and
/// over, and be slow.
const MAX_STATES_BYTES: usize = 16 * 1024 * 1024;

/// Several patterns as one, which is found in a text exactly if any of them is; nothing, if they cannot be put together.
///
/// One expression is several times as fast as a set, which would also tell which of them it was.
pub(crate) fn together<'p>(patterns: impl Iterator<Item = &'p str>) -> Option<Regex> {
    let mut all = String::new();
    for pattern in patterns {
        // A comment of one pattern would end at the line break of the next, and what lies between would be lost.
        if pattern.contains('\n') {
            return None;
        }
        let bar = if all.is_empty() { "" } else { "|" };
        all.push_str(&format!("{bar}(?:{pattern})"));
    }
    RegexBuilder::new(&all)
        .size_limit(MAX_PATTERN_BYTES.saturating_mul(8))
        .dfa_size_limit(MAX_STATES_BYTES)
        .build()
        .ok()
        .filter(|_| !all.is_empty())
}

/// Whom an argument must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MustBe {
    /// The caller's own tenant, by its name or pseudonym.
    Tenant,
    /// The person for whom the caller acts.
    User,
}

impl MustBe {
    /// Each with its word in a site file.
    pub(crate) const WORDS: [(&'static str, Self); 2] =
        [("tenant", Self::Tenant), ("user", Self::User)];
}

/// Who calls, as far as arguments may have to name them.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// Its pseudonym.
    pub tenant_id: &'a str,
    /// The person that the caller acts for.
    pub user: Option<&'a str>,
}

/// How an argument says where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// `https://…` or `http://…`.
    Url,
    /// A host and a port, `host:port`.
    Endpoint,
    /// A host alone, at any port that is listed for it.
    Host,
}

impl Names {
    /// Every form and its word in a site file.
    pub(crate) const WORDS: [(&'static str, Self); 3] = [
        ("url", Self::Url),
        ("endpoint", Self::Endpoint),
        ("host", Self::Host),
    ];
}

/// An argument that says where a call goes, and where it may go.
#[derive(Debug, Clone)]
pub struct Destination {
    /// How it says so.
    pub names: Names,
    /// Where it may go: the capability's `endpoint_in`.
    pub list: Arc<EndpointList>,
}

impl Destination {
    /// Whether every text leads to what is listed. An address that is special has to be listed on purpose.
    fn judge(&self, text: &str) -> Result<(), Rule> {
        let listed = |endpoint: &Endpoint| {
            self.list.has(endpoint)
                && match endpoint.host() {
                    Host::Name(_) => true,
                    Host::Address(ip) => {
                        address::permitted(*ip, &self.list, endpoint.port()).is_ok()
                    }
                }
        };
        let found = match self.names {
            Names::Url => listed(&Endpoint::of_url(text).map_err(|_| Rule::Destination)?.1),
            Names::Endpoint => listed(&Endpoint::parse(text).map_err(|_| Rule::Destination)?),
            Names::Host => {
                let host = Host::parse(text).map_err(|_| Rule::Destination)?;
                let mut ports = self.list.ports();
                ports.any(|port| listed(&Endpoint::new(host.clone(), port)))
            }
        };
        if found { Ok(()) } else { Err(Rule::EndpointIn) }
    }
}

/// Rules for one argument.
#[derive(Debug, Clone, Default)]
pub struct ArgumentRules {
    /// The whole text matches.
    pub pattern: Option<WholePattern>,
    /// The value, text or integer, is one of these.
    pub one_of: Option<Vec<Value>>,
    /// The text, or each text of a list, is one of these.
    pub allow_list: Option<Vec<String>>,
    /// Lowest integer.
    pub min: Option<i64>,
    /// Highest integer.
    pub max: Option<i64>,
    /// Longest text, in characters; longest list, in items.
    pub max_length: Option<usize>,
    /// Characters of a text.
    pub alphabet: Option<Alphabet>,
    /// The whole text is one of these statements; none declared means that this rule is not there.
    pub shapes: Vec<Shape>,
    /// Whom the text, or each text of a list, must name.
    pub must_be: Option<MustBe>,
    /// The text, or each text of a list, says where the call goes.
    pub destination: Option<Destination>,
}

/// A rule that an argument can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The schema does not name the argument.
    UnknownArgument,
    /// The argument must be there.
    Required,
    /// The argument is of another type.
    Type,
    /// Policy cannot hold the number exactly.
    UnrepresentableNumber,
    /// The input schema says more, and it does not hold.
    InputSchema,
    /// `max_length`.
    MaxLength,
    /// `alphabet`.
    Alphabet,
    /// `pattern`.
    Pattern,
    /// `one_of`.
    OneOf,
    /// `allow_list`.
    AllowList,
    /// `min`.
    Min,
    /// `max`.
    Max,
    /// `shapes`.
    Shape,
    /// `must_be = "tenant"`.
    OwnTenant,
    /// `must_be = "user"`.
    OwnUser,
    /// `destination`: the text is not an address of the declared form.
    Destination,
    /// `endpoint_in`: the address is not listed.
    EndpointIn,
}

impl Rule {
    /// The stable word for the rule.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownArgument => "unknown_argument",
            Self::Required => "required",
            Self::Type => "type",
            Self::UnrepresentableNumber => "unrepresentable_number",
            Self::InputSchema => "input_schema",
            Self::MaxLength => "max_length",
            Self::Alphabet => "alphabet",
            Self::Pattern => "pattern",
            Self::OneOf => "one_of",
            Self::AllowList => "allow_list",
            Self::Min => "min",
            Self::Max => "max",
            Self::Shape => "shape",
            Self::OwnTenant => "own_tenant",
            Self::OwnUser => "own_user",
            Self::Destination => "destination",
            Self::EndpointIn => "endpoint_in",
        }
    }
}

/// A rule that an argument breaks. Names both, never the value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("argument {argument} breaks the rule {}", rule.name())]
pub struct ConstraintViolation {
    /// The argument; names of nested ones are joined by dots.
    pub argument: String,
    /// The rule.
    pub rule: Rule,
}

impl ArgumentRules {
    /// The first rule that a value breaks, or the name of the shape that it has.
    pub(crate) fn apply(&self, value: &Value) -> Result<Option<&str>, Rule> {
        let Self {
            pattern,
            one_of,
            allow_list,
            min,
            max,
            max_length,
            alphabet,
            shapes,
            must_be: _,
            destination,
        } = self;
        let holds = |rule: Rule, holds: bool| if holds { Ok(()) } else { Err(rule) };
        if let Some(limit) = max_length {
            holds(Rule::MaxLength, length(value) <= *limit)?;
        }
        let texts = texts(value);
        if let Some(alphabet) = alphabet {
            holds(
                Rule::Alphabet,
                texts.iter().all(|t| t.chars().all(|c| alphabet.takes(c))),
            )?;
        }
        if let Some(pattern) = pattern {
            holds(
                Rule::Pattern,
                texts.iter().all(|t| pattern.regex.is_match(t)),
            )?;
        }
        if let Some(known) = one_of {
            holds(Rule::OneOf, known.contains(value))?;
        }
        if let Some(known) = allow_list {
            holds(
                Rule::AllowList,
                texts.iter().all(|t| known.iter().any(|k| k == t)),
            )?;
        }
        if let Some(least) = min {
            holds(Rule::Min, matches!(value, Value::Long(n) if n >= least))?;
        }
        if let Some(most) = max {
            holds(Rule::Max, matches!(value, Value::Long(n) if n <= most))?;
        }
        if let Some(destination) = destination {
            texts.iter().try_for_each(|t| destination.judge(t))?;
        }
        match (shapes.as_slice(), texts.as_slice()) {
            ([], _) => Ok(None),
            (shapes, [text]) => shapes
                .iter()
                .find(|s| s.is_whole(text))
                .map(|s| Some(s.name()))
                .ok_or(Rule::Shape),
            (_, _) => Err(Rule::Shape),
        }
    }

    /// Whether a value names whom it must.
    pub(crate) fn bound(&self, value: &Value, own: Own<'_>) -> Result<(), Rule> {
        let Some(must_be) = self.must_be else {
            return Ok(());
        };
        let (rule, is_own): (Rule, &dyn Fn(&str) -> bool) = match must_be {
            MustBe::Tenant => (Rule::OwnTenant, &|t| t == own.tenant || t == own.tenant_id),
            MustBe::User => (Rule::OwnUser, &|t| own.user == Some(t)),
        };
        if texts(value).into_iter().all(is_own) {
            Ok(())
        } else {
            Err(rule)
        }
    }

    /// The first rule that means nothing for a type.
    pub(crate) fn misplaced(&self, ty: &InputType) -> Option<(&'static str, &'static str)> {
        let text = matches!(ty, InputType::Text);
        let texts = text || matches!(ty, InputType::Set(item) if **item == InputType::Text);
        let long = matches!(ty, InputType::Long);
        let list = matches!(ty, InputType::Set(_));
        let rules = [
            (
                "pattern",
                self.pattern.is_some(),
                texts,
                "a text or a list of texts",
            ),
            (
                "allow_list",
                self.allow_list.is_some(),
                texts,
                "a text or a list of texts",
            ),
            (
                "alphabet",
                self.alphabet.is_some(),
                texts,
                "a text or a list of texts",
            ),
            (
                "max_length",
                self.max_length.is_some(),
                text || list,
                "a text or a list",
            ),
            (
                "destination",
                self.destination.is_some(),
                texts,
                "a text or a list of texts",
            ),
            ("min", self.min.is_some(), long, "an integer"),
            ("max", self.max.is_some(), long, "an integer"),
            ("shapes", !self.shapes.is_empty(), text, "a text"),
            (
                "must_be",
                self.must_be.is_some(),
                texts,
                "a text or a list of texts",
            ),
            (
                "one_of",
                self.one_of.is_some(),
                text || long,
                "a text or an integer",
            ),
        ];
        rules
            .into_iter()
            .find(|(_, declared, fits, _)| *declared && !fits)
            .map(|(rule, _, _, needs)| (rule, needs))
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::Text(s) => s.chars().count(),
        Value::Set(items) => items.len(),
        Value::Bool(_) | Value::Long(_) | Value::Record(_) => 0,
    }
}

/// The text of a value, or the texts of its list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Text(s) => vec![s],
        Value::Set(items) => items.iter().flat_map(texts).collect(),
        Value::Bool(_) | Value::Long(_) | Value::Record(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(patterns: &[&str], text: &str) -> Option<bool> {
        together(patterns.iter().copied()).map(|all| all.is_match(text))
    }

    #[test]
    fn flags_of_one_pattern_are_not_the_next_ones() {
        let patterns = ["(?i)ab", "cd|ef", "^gh$"];
        for (text, expected) in [
            ("xABx", true),
            ("xCDx", false),
            ("xefx", true),
            ("gh", true),
            ("xgh", false),
        ] {
            assert_eq!(found(&patterns, text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_comment_swallows_no_part_of_another_pattern() {
        // Put together, what stands before the line break would be a comment's, and a text with a bracket clean.
        let patterns = ["(?x)a # ", "[)]\n|y"];
        assert!(patterns.iter().all(|p| bounded(p).is_ok()));
        assert_eq!(found(&patterns, "a)"), None);
        // Without a line break nothing ends the comment, and they cannot be put together.
        assert_eq!(found(&["(?x)a # ", "y"], "y"), None);
    }

    #[test]
    fn no_patterns_are_nothing() {
        assert_eq!(found(&[], "text"), None);
    }
}
