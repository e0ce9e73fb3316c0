//! Small readers that every site file needs.

use crate::problem::{Problem, Report, Source};
use countersign_record::digest::PublicKey;
use countersign_record::preview::is_hostile;
use serde::de::DeserializeOwned;
use toml::Spanned;

/// Longest name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;

/// A TOML file as its declared structure.
pub(crate) fn toml_file<T: DeserializeOwned>(source: Source<'_>, report: &mut Report) -> Option<T> {
    match toml::from_str(source.text) {
        Ok(value) => Some(value),
        Err(e) => {
            report.at(
                source,
                e.span().unwrap_or(0..0),
                Problem::Syntax(e.message().to_owned()),
            );
            None
        }
    }
}

/// Hexadecimal bytes of a fixed number.
pub(crate) fn hex_array<const N: usize>(
    source: Source<'_>,
    key: &str,
    text: &Spanned<String>,
    report: &mut Report,
) -> Option<[u8; N]> {
    let mut out = [0u8; N];
    match hex::decode_to_slice(text.get_ref(), &mut out) {
        Ok(()) => Some(out),
        Err(_) => {
            report.value(
                source,
                text.span(),
                key,
                text.get_ref(),
                format!("{N} bytes in hexadecimal"),
            );
            None
        }
    }
}

/// A public key in hexadecimal.
pub(crate) fn key(
    source: Source<'_>,
    name: &str,
    text: &Spanned<String>,
    report: &mut Report,
) -> Option<PublicKey> {
    hex_array(source, name, text, report).map(PublicKey)
}

/// Lower-case letters, digits and hyphens, beginning with a letter or digit.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let first = name.bytes().next();
    name.len() <= MAX_NAME_BYTES
        && first.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A name of lower-case letters, digits and hyphens.
pub(crate) fn plain_name(
    source: Source<'_>,
    key: &str,
    name: &Spanned<String>,
    report: &mut Report,
) -> Option<String> {
    if is_plain_name(name.get_ref()) {
        return Some(name.get_ref().clone());
    }
    let expected = format!("1 to {MAX_NAME_BYTES} lower-case letters, digits and hyphens");
    report.value(source, name.span(), key, name.get_ref(), expected);
    None
}

/// One line that is shown as it stands: none of its characters changes how those around it look.
pub(crate) fn shown_line(
    source: Source<'_>,
    key: &str,
    text: &Spanned<String>,
    most: usize,
    report: &mut Report,
) -> Option<String> {
    let line = text.get_ref();
    let length = line.chars().count();
    if (1..=most).contains(&length) && line.trim() == line && !line.chars().any(is_hostile) {
        return Some(line.clone());
    }
    let expected = format!(
        "1 to {most} characters on one line, none of them invisible, and no space at either end"
    );
    report.value(source, text.span(), key, line, expected);
    None
}

/// The value of a word from a closed list.
pub(crate) fn word<T: Copy>(
    source: Source<'_>,
    key: &str,
    text: &Spanned<String>,
    known: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    if let Some((_, value)) = known.iter().find(|(name, _)| name == text.get_ref()) {
        return Some(*value);
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    report.value(
        source,
        text.span(),
        key,
        text.get_ref(),
        format!("one of {}", names.join(", ")),
    );
    None
}
