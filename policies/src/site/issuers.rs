//! `issuers/*.toml`: whose tokens count, and `jwks/*.json`: by which keys.
//!
//! In: the text of the file and of the key set that it names. Out: an [`Issuer`]. Keys stand in the
//! bundle and are never fetched: the operator owns wire and names, and would choose what is fetched. So a
//! rotated key of an issuer is a new bundle; an issuer's next key can be pinned before it is used.

use crate::problem::{Problem, Report, Source};
use crate::site::text::{plain_name, toml_file, word};
use countersign_tokens::access::{
    ClientClaim, Issuer, MAX_LEEWAY, MAX_LIFETIME, TokenType, UserClaim,
};
use countersign_tokens::jwk::JwkSet;
use countersign_tokens::jws::Algorithm;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use toml::Spanned;

/// How far an issuer's clock may be off, where the file says nothing, in seconds.
const LEEWAY_SECONDS: u64 = 10;

/// Longest life of a token, where the file says nothing, in seconds.
const LIFETIME_SECONDS: u64 = 3600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    url: Spanned<String>,
    audience: Spanned<String>,
    jwks: Spanned<String>,
    algorithms: Spanned<Vec<Spanned<String>>>,
    token_type: Option<Spanned<String>>,
    client_claim: Option<Spanned<String>>,
    user_claim: Option<Spanned<String>>,
    required_scope: Option<Spanned<String>>,
    leeway_seconds: Option<Spanned<u64>>,
    max_lifetime_seconds: Option<Spanned<u64>>,
}

/// Reads one file. `sets` are the site's key sets by path.
pub(crate) fn issuer(
    source: Source<'_>,
    sets: &BTreeMap<&str, &str>,
    report: &mut Report,
) -> Option<Issuer> {
    let file: File = toml_file(source, report)?;
    let before = report.count();
    let name = plain_name(source, "name", &file.name, report);
    address(source, "url", &file.url, report);
    if address(source, "audience", &file.audience, report) && has_path(file.audience.get_ref()) {
        let expected = "scheme and host of this gateway, without a path";
        let (span, found) = (file.audience.span(), file.audience.get_ref());
        report.value(source, span, "audience", found, expected);
    }
    let keys = keys(source, &file.jwks, sets, report);
    let algorithms = algorithms(source, &file.algorithms, report);
    let mut worded = Words { source, report };
    let typ = worded.or(
        "token_type",
        file.token_type,
        &TokenType::WORDS,
        TokenType::AccessToken,
    );
    let client_claim = worded.or(
        "client_claim",
        file.client_claim,
        &ClientClaim::WORDS,
        ClientClaim::ClientId,
    );
    let user_claim = worded.or(
        "user_claim",
        file.user_claim,
        &UserClaim::WORDS,
        UserClaim::Sub,
    );
    let leeway = seconds(
        source,
        ("leeway_seconds", file.leeway_seconds, LEEWAY_SECONDS),
        (0, MAX_LEEWAY),
        report,
    );
    let max_lifetime = seconds(
        source,
        (
            "max_lifetime_seconds",
            file.max_lifetime_seconds,
            LIFETIME_SECONDS,
        ),
        (1, MAX_LIFETIME),
        report,
    );
    if let Some(scope) = &file.required_scope {
        let is_scope = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic());
        if !is_scope(scope.get_ref()) {
            let expected = "one scope, of visible ASCII characters";
            report.value(
                source,
                scope.span(),
                "required_scope",
                scope.get_ref(),
                expected,
            );
        }
    }
    if report.count() > before {
        return None;
    }
    Some(Issuer {
        name: name?,
        url: file.url.into_inner(),
        audience: file.audience.into_inner(),
        keys: keys?,
        algorithms,
        typ,
        client_claim,
        user_claim,
        required_scope: file.required_scope.map(Spanned::into_inner),
        leeway,
        max_lifetime,
    })
}

/// `https://…`, or `http://` and a loopback name for a trial; compared byte for byte, so nothing that has two spellings.
fn address(source: Source<'_>, key: &str, url: &Spanned<String>, report: &mut Report) -> bool {
    let text = url.get_ref();
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    let is_loopback = |rest: &str| {
        loopback
            .iter()
            .filter_map(|host| rest.strip_prefix(host))
            .any(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    };
    let host = text.strip_prefix("https://");
    let local = text
        .strip_prefix("http://")
        .filter(|rest| is_loopback(rest));
    let fits = host.or(local).is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic())
    });
    if fits && !text.contains(['?', '#', '"', '\\', '@']) {
        return true;
    }
    let expected =
        "https:// and a host (or http:// and a loopback address), without query and fragment";
    report.value(source, url.span(), key, text, expected);
    false
}

fn has_path(url: &str) -> bool {
    url.split_once("://")
        .is_some_and(|(_, rest)| rest.contains('/'))
}

fn keys(
    source: Source<'_>,
    path: &Spanned<String>,
    sets: &BTreeMap<&str, &str>,
    report: &mut Report,
) -> Option<JwkSet> {
    let Some(text) = sets.get(path.get_ref().as_str()) else {
        let problem = Problem::Unknown {
            what: "key set",
            name: path.get_ref().clone(),
        };
        report.at(source, path.span(), problem);
        return None;
    };
    match JwkSet::parse(text) {
        Ok(keys) => Some(keys),
        Err(e) => {
            report.file(path.get_ref(), Problem::Syntax(format!("key set: {e}")));
            None
        }
    }
}

fn algorithms(
    source: Source<'_>,
    listed: &Spanned<Vec<Spanned<String>>>,
    report: &mut Report,
) -> Vec<Algorithm> {
    if listed.get_ref().is_empty() {
        let problem = Problem::Missing {
            key: "algorithms".to_owned(),
            expected: "at least one algorithm".to_owned(),
        };
        report.at(source, listed.span(), problem);
    }
    let all = listed.get_ref().iter();
    all.filter_map(|name| word(source, "algorithms", name, &Algorithm::NAMES, report))
        .collect()
}

struct Words<'s, 'r> {
    source: Source<'s>,
    report: &'r mut Report,
}

impl Words<'_, '_> {
    /// The value of a word, or the default where there is none.
    fn or<T: Copy>(
        &mut self,
        key: &str,
        text: Option<Spanned<String>>,
        known: &[(&str, T)],
        default: T,
    ) -> T {
        let found = text.and_then(|t| word(self.source, key, &t, known, self.report));
        found.unwrap_or(default)
    }
}

fn seconds(
    source: Source<'_>,
    (key, found, default): (&str, Option<Spanned<u64>>, u64),
    (least, most): (u64, Duration),
    report: &mut Report,
) -> Duration {
    let number = found.as_ref().map_or(default, |n| *n.get_ref());
    if let Some(found) = found.filter(|n| *n.get_ref() < least || *n.get_ref() > most.as_secs()) {
        let expected = format!("{least} to {} seconds", most.as_secs());
        let text = found.get_ref().to_string();
        report.value(source, found.span(), key, &text, expected);
    }
    Duration::from_secs(number)
}
