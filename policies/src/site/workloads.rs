//! `trust-domains/*.toml`: whose certificates name workloads (SPIFFE).
//!
//! In: the text of the file and of the roots that it names. Out: a [`TrustDomain`]. Its roots stand in the bundle and
//! are never fetched, as the keys of issuers: so a new root of a trust domain is a new bundle; the next one can be pinned
//! before it issues.

use crate::problem::{Problem, Report, Source};
use crate::site::text::toml_file;
use countersign_tokens::svid::{SpiffeId, TrustDomain, TrustDomainError};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    roots: Spanned<String>,
}

/// Reads one file. `roots` are the site's `roots/*.pem` by path.
pub(crate) fn trust_domain(
    source: Source<'_>,
    roots: &BTreeMap<&str, &str>,
    report: &mut Report,
) -> Option<TrustDomain> {
    let File { name, roots: named } = toml_file(source, report)?;
    let Some(text) = roots.get(named.get_ref().as_str()) else {
        let problem = Problem::Unknown {
            what: "file of roots",
            name: named.get_ref().clone(),
        };
        report.at(source, named.span(), problem);
        return None;
    };
    match TrustDomain::parse(name.get_ref(), text) {
        Ok(domain) => Some(domain),
        Err(TrustDomainError::Name) => {
            let expected = "small letters, digits, '-', '.' and '_', such as bank.example";
            report.value(source, name.span(), "name", name.get_ref(), expected);
            None
        }
        Err(error) => {
            let expected = format!("certificates of authorities in PEM ({error})");
            report.value(source, named.span(), "roots", named.get_ref(), &expected);
            None
        }
    }
}

/// The name of a workload in one of these trust domains.
pub(crate) fn spiffe_id(
    source: Source<'_>,
    text: &Spanned<String>,
    domains: &BTreeSet<String>,
    report: &mut Report,
) -> Option<SpiffeId> {
    let Ok(id) = SpiffeId::parse(text.get_ref()) else {
        let expected = "spiffe://<trust domain>/<path>, such as spiffe://bank.example/agents/desk";
        report.value(source, text.span(), "spiffe_id", text.get_ref(), expected);
        return None;
    };
    if !domains.contains(id.domain()) {
        let problem = Problem::Unknown {
            what: "trust domain",
            name: id.domain().to_owned(),
        };
        report.at(source, text.span(), problem);
        return None;
    }
    Some(id)
}
