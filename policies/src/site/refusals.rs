//! `refusals.toml`: what the site tells refused callers besides the refusal.
//!
//! In: the text of the file. Out: whom to ask. It goes into the bundle, and not into this
//! gateway's settings: models act on it, so those who sign the bundle decide on it.

use crate::problem::{Report, Source};
use crate::site::text::{shown_line, toml_file};
use serde::Deserialize;
use toml::Spanned;

/// Path of the file in a site.
pub const REFUSALS_FILE: &str = "refusals.toml";

/// Longest contact, in characters: an address and what it is, and no room for a second prompt.
pub const MAX_CONTACT_CHARS: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    contact: Spanned<String>,
}

/// Reads the file.
pub(crate) fn refusals(source: Source<'_>, report: &mut Report) -> Option<String> {
    let file: File = toml_file(source, report)?;
    contact(source, &file.contact, report)
}

/// Whom a refused caller is told to ask.
pub(crate) fn contact(
    source: Source<'_>,
    text: &Spanned<String>,
    report: &mut Report,
) -> Option<String> {
    shown_line(source, "contact", text, MAX_CONTACT_CHARS, report)
}
