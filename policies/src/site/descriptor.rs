//! What a tool says of itself, as a site pins it.
//!
//! In: what a capability's file says of the descriptor. Out: the digest that the tool has to have, and the text where
//! the site keeps it in `descriptors/*.json`: then whoever signs the bundle can read what it pins, and a tool that
//! changed can be shown beside what it was.

use crate::problem::{Problem, Report, Source};
use crate::site::method::Method;
use crate::site::text::hex_array;
use bytes::Bytes;
use countersign_json::descriptor::{RawTool, descriptor_digest};
use countersign_record::digest::ArtifactDigest;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// A pinned descriptor: its digest, and its text where the site keeps it.
pub(super) type Pinned = (ArtifactDigest, Option<RawTool>);

/// What a capability's file says of a tool's descriptor: by digest, by text, or by both, which then agree.
/// A method's descriptor is fixed.
pub(super) struct Keys<'f> {
    pub(super) digest: Option<&'f Spanned<String>>,
    pub(super) text: Option<&'f Spanned<String>>,
    /// Where in the file it is said that there is neither.
    pub(super) missing: Range<usize>,
}

impl Keys<'_> {
    /// The digest that is pinned, and the text where the site keeps it.
    pub(super) fn pinned(
        self,
        source: Source<'_>,
        (method, tool): (Method, &str),
        texts: &BTreeMap<&str, &str>,
        report: &mut Report,
    ) -> Option<Pinned> {
        if let Some(fixed) = method.descriptor() {
            return match self.digest.or(self.text) {
                None => Some((fixed, None)),
                Some(pinned) => {
                    let problem =
                        Problem::Syntax("descriptor has no meaning for a method".to_owned());
                    report.at(source, pinned.span(), problem);
                    None
                }
            };
        }
        let digest = self
            .digest
            .map(|pinned| hex_array(source, "descriptor", pinned, report).map(ArtifactDigest));
        let text = self
            .text
            .map(|path| descriptor_text(source, path, (tool, texts), report));
        match (digest, text) {
            (None, None) => {
                let problem = Problem::Missing {
                    key: "descriptor".to_owned(),
                    expected: "the digest of the tool's descriptor, or descriptor_file".to_owned(),
                };
                report.at(source, self.missing, problem);
                None
            }
            (Some(digest), None) => Some((digest?, None)),
            (None, Some(text)) => text.map(|(raw, digest)| (digest, Some(raw))),
            (Some(digest), Some(text)) => {
                let (digest, (raw, of_text)) = (digest?, text?);
                if digest != of_text {
                    let span = self.digest.map_or(0..0, Spanned::span);
                    let expected = format!("{of_text}, which descriptor_file has");
                    report.value(source, span, "descriptor", &digest.to_string(), expected);
                    return None;
                }
                Some((digest, Some(raw)))
            }
        }
    }
}

/// The descriptor of a tool as the site keeps it, and its digest.
fn descriptor_text(
    source: Source<'_>,
    path: &Spanned<String>,
    (tool, texts): (&str, &BTreeMap<&str, &str>),
    report: &mut Report,
) -> Option<(RawTool, ArtifactDigest)> {
    let name = path.get_ref().as_str();
    let text = texts.get(name).filter(|_| name.starts_with("descriptors/"));
    let Some(text) = text else {
        let problem = Problem::Unknown {
            what: "descriptor file",
            name: name.to_owned(),
        };
        report.at(source, path.span(), problem);
        return None;
    };
    let read = RawTool::parse(Bytes::copy_from_slice(text.as_bytes()))
        .map_err(|e| e.to_string())
        .and_then(|raw| match raw.name() == tool {
            true => Ok(raw),
            false => Err(format!("it is of the tool {:?}", raw.name())),
        })
        .and_then(|raw| {
            let digest = descriptor_digest(&raw).map_err(|e| e.to_string())?;
            Ok((raw, digest))
        });
    match read {
        Ok(read) => Some(read),
        Err(why) => {
            let expected = format!("a descriptor of the tool {tool} ({why})");
            report.value(source, path.span(), "descriptor_file", name, expected);
            None
        }
    }
}
