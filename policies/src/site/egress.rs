//! What a site says of the ways out: `[egress]` of `countersign.toml`, and lists of endpoints in other files.
//!
//! In: sections and lists of texts. Out: [`EgressSettings`], [`EndpointList`]s, pins.

use crate::endpoint::{EndpointList, LISTED_FORM, MAX_LISTED};
use crate::problem::{Problem, Report, Source};
use crate::site::text::hex_array;
use serde::Deserialize;
use std::net::SocketAddr;
use toml::Spanned;

/// Most name servers: one after the other is asked, within the time of one connection.
const MAX_NAMESERVERS: usize = 4;

/// How the gateway finds the addresses of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressSettings {
    /// Recursive name servers, asked in this order. Without one no name is resolved.
    pub nameservers: Vec<SocketAddr>,
}

/// `[egress]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EgressSection {
    nameservers: Vec<Spanned<String>>,
}

pub(crate) fn egress(
    source: Source<'_>,
    section: Option<&EgressSection>,
    report: &mut Report,
) -> EgressSettings {
    let named = section
        .map(|s| s.nameservers.as_slice())
        .unwrap_or_default();
    let mut nameservers = Vec::new();
    for text in named {
        let address: Option<SocketAddr> = text.get_ref().parse().ok();
        match address.filter(|a| a.port() != 0 && nameservers.len() < MAX_NAMESERVERS) {
            Some(address) => nameservers.push(address),
            None => {
                let expected = "an IP address and a port, such as 127.0.0.53:53; at most four";
                let (span, found) = (text.span(), text.get_ref());
                report.value(source, span, "egress.nameservers", found, expected);
            }
        }
    }
    EgressSettings { nameservers }
}

/// `endpoint_in`.
pub(crate) fn endpoint_list(
    source: Source<'_>,
    listed: &[Spanned<String>],
    report: &mut Report,
) -> EndpointList {
    let mut out = EndpointList::default();
    for text in listed {
        if out.texts().len() >= MAX_LISTED {
            let problem = Problem::Limit {
                what: "entries of endpoint_in",
                found: listed.len(),
                limit: MAX_LISTED,
            };
            report.at(source, text.span(), problem);
            break;
        }
        if out.add(text.get_ref()).is_none() {
            report.value(
                source,
                text.span(),
                "endpoint_in",
                text.get_ref(),
                LISTED_FORM,
            );
        }
    }
    out
}

/// `pinned_sha256`.
pub(crate) fn pins(
    source: Source<'_>,
    texts: &[Spanned<String>],
    report: &mut Report,
) -> Vec<[u8; 32]> {
    texts
        .iter()
        .filter_map(|text| hex_array(source, "pinned_sha256", text, report))
        .collect()
}
