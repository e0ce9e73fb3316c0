//! `adapters/*.toml`, `agents/*.toml`, `approvers/*.toml`: what is called, who calls, who approves.

use crate::endpoint::{Endpoint, EndpointList, Host, Scheme};
use crate::problem::{Problem, Report, Source};
use crate::site::egress::{endpoint_list, pins};
use crate::site::profiles::{BUILT_IN, Profile};
use crate::site::text::{hex_array, key, plain_name, toml_file, word};
use crate::site::workloads::spiffe_id;
use countersign_record::digest::PublicKey;
use countersign_tokens::svid::SpiffeId;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use toml::Spanned;

/// An upstream that tools live in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Name; the first part of its capabilities' ids.
    pub name: String,
    /// How it is reached.
    pub transport: Transport,
    /// Whether one server serves all principals; otherwise each has its own.
    pub shared: bool,
}

/// How an upstream is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// An MCP server that is started as a process and spoken to over its standard streams.
    McpStdio {
        /// Program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// SHA-256 of the program file, checked before each start.
        entry_sha256: Option<[u8; 32]>,
        /// Its whole environment; nothing is inherited. Not for secrets: bundles are not secret.
        environment: BTreeMap<String, String>,
        /// Name of the profile that it runs within.
        sandbox: Option<String>,
    },
    /// An MCP server that is spoken to over Streamable HTTP.
    McpHttp(HttpUpstream),
}

/// An upstream that is spoken to over HTTP, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUpstream {
    /// Its address.
    pub url: String,
    /// Where connections go.
    pub endpoint: Endpoint,
    /// What the way there may lead over: the endpoint, and what is listed besides.
    pub reaches: EndpointList,
    /// How it is known; in the clear, to this machine, if left out.
    pub tls: Option<UpstreamTls>,
}

/// How an upstream's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Certificates that its own must lead to, in PEM.
    pub roots: String,
    /// SHA-256 of the public keys (SubjectPublicKeyInfo, DER) of which its certificate must have one; any, if there
    /// are none.
    pub pins: Vec<[u8; 32]>,
}

/// An agent that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// `agent:<namespace>/<name>@<version>`.
    pub urn: String,
    /// Name of its tenant.
    pub tenant: String,
    /// How it shows who it is.
    pub credential: Credential,
    /// Whose tokens say for whom it acts, or, where it has no other credential, who it is.
    pub oauth: Option<Client>,
    /// The person it acts for, if that is fixed.
    pub user: Option<String>,
    /// Groups that policies name.
    pub groups: Vec<String>,
    /// What each of its runs may spend.
    pub run_budget: RunBudget,
}

/// What a run may spend. What is not limited has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunBudget {
    /// Calls that are carried out.
    pub max_tool_calls: Option<u64>,
    /// Time from its first call on.
    pub wall_clock: Option<Duration>,
    /// Tokens, as far as the client declares them.
    pub total_tokens: Option<u64>,
}

/// How an agent shows who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A static token, of which the digest is known (see `countersign_signatures::token`). Assurance 0.
    Token([u8; 32]),
    /// An Ed25519 key that signs its requests. Assurance 3.
    Key(PublicKey),
    /// A token of [`Agent::oauth`]: assurance 1, and 2 where it is bound to a key that the agent shows to hold.
    Client,
    /// A certificate of a trust domain, whose key it shows to hold in the handshake. Assurance 2.
    Workload(SpiffeId),
}

/// A client of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Short name of the issuer.
    pub issuer: String,
    /// The client's name there.
    pub client: String,
    /// What its tokens say in `sub` where it acts for itself, if that is not the client's name.
    pub own_subject: Option<String>,
}

/// A person who may approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// Short identifier.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Ed25519 key.
    pub key: PublicKey,
    /// Groups that policies name.
    pub groups: Vec<String>,
    /// Names of the tenants whose actions the person may approve.
    pub tenants: Vec<String>,
    /// Ids of the capabilities that the person may approve; none named means all.
    pub capabilities: Vec<String>,
    /// Disclosure profiles under which the person may export, if that is limited; never empty.
    pub profiles: Option<Vec<String>>,
    /// Names that issuers give the person, `<issuer>:<name>`: a call for any of them is a call for this person.
    pub accounts: Vec<String>,
}

impl Adapter {
    /// Name of the profile that its program runs within.
    #[must_use]
    pub fn sandbox(&self) -> Option<&str> {
        match &self.transport {
            Transport::McpStdio { sandbox, .. } => sandbox.as_deref(),
            Transport::McpHttp(_) => None,
        }
    }
}

impl Approver {
    /// Whether the person may approve this capability for this tenant, as a member of all these groups.
    pub(crate) fn is_eligible(&self, tenant: &str, capability: &str, groups: &[String]) -> bool {
        self.tenants.iter().any(|t| t == tenant)
            && (self.capabilities.is_empty() || self.capabilities.iter().any(|c| c == capability))
            && groups.iter().all(|g| self.groups.contains(g))
    }

    /// Whether the person may export under this profile. Whether there is such a profile is another question.
    #[must_use]
    pub fn may_export_under(&self, profile: &str) -> bool {
        let listed = |all: &Vec<String>| all.iter().any(|p| p == profile);
        self.profiles.as_ref().is_none_or(listed)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdapterFile {
    name: Spanned<String>,
    kind: Spanned<String>,
    command: Option<String>,
    args: Option<Vec<String>>,
    entry_sha256: Option<Spanned<String>>,
    environment: Option<BTreeMap<String, String>>,
    sandbox: Option<Spanned<String>>,
    #[serde(default)]
    shared: bool,
    url: Option<Spanned<String>>,
    roots: Option<Spanned<String>>,
    pinned_sha256: Option<Vec<Spanned<String>>>,
    endpoint_in: Option<Vec<Spanned<String>>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Stdio,
    Http,
}

/// Reads `adapters/*.toml`. `roots` are the site's `roots/*.pem` by path, `sandboxes` the names of its profiles.
pub(crate) fn adapter(
    source: Source<'_>,
    (roots, sandboxes): (&BTreeMap<&str, &str>, &BTreeSet<String>),
    report: &mut Report,
) -> Option<Adapter> {
    let file: AdapterFile = toml_file(source, report)?;
    let name = plain_name(source, "name", &file.name, report);
    let kinds = [("mcp-stdio", Kind::Stdio), ("mcp-http", Kind::Http)];
    let missing = |key: &str, expected: &str| Problem::Missing {
        key: key.to_owned(),
        expected: expected.to_owned(),
    };
    let foreign = |key: &str, kind: &str| {
        Problem::Syntax(format!(
            "{key} has no meaning for an adapter of kind {kind}"
        ))
    };
    let span = file.kind.span();
    let transport = match word(source, "kind", &file.kind, &kinds, report)? {
        Kind::Stdio => {
            let network = [
                ("url", file.url.is_some()),
                ("roots", file.roots.is_some()),
                ("pinned_sha256", file.pinned_sha256.is_some()),
                ("endpoint_in", file.endpoint_in.is_some()),
            ];
            for (key, _) in network.iter().filter(|(_, present)| *present) {
                report.at(source, span.clone(), foreign(key, "mcp-stdio"));
            }
            let entry_sha256 = match &file.entry_sha256 {
                Some(text) => Some(hex_array(source, "entry_sha256", text, report)?),
                None => None,
            };
            let Some(command) = file.command.filter(|c| !c.is_empty()) else {
                report.at(
                    source,
                    span,
                    missing("command", "the program that is the server"),
                );
                return None;
            };
            Transport::McpStdio {
                command,
                args: file.args.unwrap_or_default(),
                entry_sha256,
                environment: file.environment.unwrap_or_default(),
                sandbox: match &file.sandbox {
                    Some(named) => known_sandbox(source, named, sandboxes, report),
                    None => {
                        report.at(source, span, missing("sandbox", SANDBOX_FORM));
                        return None;
                    }
                },
            }
        }
        Kind::Http => {
            let process = [
                ("command", file.command.is_some()),
                ("args", file.args.is_some()),
                ("entry_sha256", file.entry_sha256.is_some()),
                ("environment", file.environment.is_some()),
                ("sandbox", file.sandbox.is_some()),
            ];
            for (key, _) in process.iter().filter(|(_, present)| *present) {
                report.at(source, span.clone(), foreign(key, "mcp-http"));
            }
            let Some(url) = &file.url else {
                report.at(source, span, missing("url", URL_FORM));
                return None;
            };
            Transport::McpHttp(http_upstream(source, url, &file, roots, report)?)
        }
    };
    Some(Adapter {
        name: name?,
        transport,
        shared: file.shared,
    })
}

/// What an adapter says of whose program nothing is confined. No profile has this name.
pub(crate) const NO_SANDBOX: &str = "none";

const SANDBOX_FORM: &str = "the name of a profile of sandboxes/*.toml; or \"none\", and the program runs as the gateway's own \
                            user, who can read its keys and go anywhere";

/// A profile is named, never written into an adapter's file: what it lets a program do is read and signed as one piece.
fn known_sandbox(
    source: Source<'_>,
    named: &Spanned<String>,
    sandboxes: &BTreeSet<String>,
    report: &mut Report,
) -> Option<String> {
    if named.get_ref() == NO_SANDBOX {
        return None;
    }
    if !sandboxes.contains(named.get_ref()) {
        let problem = Problem::Unknown {
            what: "sandbox",
            name: named.get_ref().clone(),
        };
        report.at(source, named.span(), problem);
    }
    Some(named.get_ref().clone())
}

const URL_FORM: &str = "https:// and a host, or http:// and a loopback address";

/// Plain HTTP stays on this machine; for everything else the site says whose certificates count.
fn http_upstream(
    source: Source<'_>,
    url: &Spanned<String>,
    file: &AdapterFile,
    roots: &BTreeMap<&str, &str>,
    report: &mut Report,
) -> Option<HttpUpstream> {
    let (scheme, endpoint) = match Endpoint::of_url(url.get_ref()) {
        Ok(parsed) => parsed,
        Err(why) => {
            let expected = format!("{URL_FORM} ({why})");
            report.value(source, url.span(), "url", url.get_ref(), expected);
            return None;
        }
    };
    let here = matches!(endpoint.host(), Host::Address(a) if a.is_loopback());
    let tls = match scheme {
        Scheme::Http if !here => {
            report.value(source, url.span(), "url", url.get_ref(), URL_FORM);
            return None;
        }
        Scheme::Http => {
            for (key, present) in [
                ("roots", file.roots.is_some()),
                ("pinned_sha256", file.pinned_sha256.is_some()),
            ] {
                if present {
                    let message = format!("{key} has no meaning for an address without TLS");
                    report.at(source, url.span(), Problem::Syntax(message));
                }
            }
            None
        }
        Scheme::Https => Some(UpstreamTls {
            roots: named_roots(source, url, file.roots.as_ref(), roots, report)?,
            pins: pins(
                source,
                file.pinned_sha256.as_deref().unwrap_or_default(),
                report,
            ),
        }),
    };
    let listed = file.endpoint_in.as_deref().unwrap_or_default();
    let listed = endpoint_list(source, listed, report);
    // An address is one that somebody wrote down. A name says nothing of where it leads.
    Some(HttpUpstream {
        url: url.get_ref().clone(),
        reaches: EndpointList::of(&endpoint).and(&listed),
        endpoint,
        tls,
    })
}

fn named_roots(
    source: Source<'_>,
    url: &Spanned<String>,
    named: Option<&Spanned<String>>,
    roots: &BTreeMap<&str, &str>,
    report: &mut Report,
) -> Option<String> {
    let Some(named) = named else {
        let expected = "roots/<name>.pem, the certificates that the upstream's own must lead to";
        let problem = Problem::Missing {
            key: "roots".to_owned(),
            expected: expected.to_owned(),
        };
        report.at(source, url.span(), problem);
        return None;
    };
    match roots.get(named.get_ref().as_str()) {
        Some(text) if text.contains("-----BEGIN CERTIFICATE-----") => Some((*text).to_owned()),
        Some(_) => {
            let expected = "a file of certificates in PEM";
            report.value(source, named.span(), "roots", named.get_ref(), expected);
            None
        }
        None => {
            let problem = Problem::Unknown {
                what: "file of roots",
                name: named.get_ref().clone(),
            };
            report.at(source, named.span(), problem);
            None
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentFile {
    urn: Spanned<String>,
    tenant: Spanned<String>,
    token_digest: Option<Spanned<String>>,
    public_key: Option<Spanned<String>>,
    spiffe_id: Option<Spanned<String>>,
    oauth: Option<ClientSection>,
    user: Option<String>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    run_budget: Option<RunBudgetSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunBudgetSection {
    max_tool_calls: Option<Spanned<u64>>,
    wall_clock_ms: Option<Spanned<u64>>,
    total_tokens: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientSection {
    issuer: String,
    client: Spanned<String>,
    own_subject: Option<Spanned<String>>,
}

/// Reads `agents/*.toml`.
pub(crate) fn agent(
    source: Source<'_>,
    tenants: &[String],
    (issuers, domains): (&BTreeSet<String>, &BTreeSet<String>),
    report: &mut Report,
) -> Option<Agent> {
    let file: AgentFile = toml_file(source, report)?;
    let urn = file.urn.get_ref();
    if !is_agent_urn(urn) {
        report.value(
            source,
            file.urn.span(),
            "urn",
            urn,
            "agent:<namespace>/<name>@<version>",
        );
    }
    known_tenant(source, &file.tenant, tenants, report);
    let groups = names(source, "groups", &file.groups, report);
    let oauth = file
        .oauth
        .map(|section| client(source, section, issuers, report));
    let run_budget = file.run_budget.map_or_else(RunBudget::default, |section| {
        run_budget(source, &section, report)
    });
    let own = (&file.token_digest, &file.public_key, &file.spiffe_id);
    let credential = match (own, &oauth) {
        ((Some(token), None, None), None) => {
            hex_array(source, "token_digest", token, report).map(Credential::Token)
        }
        ((None, Some(text), None), _) => {
            key(source, "public_key", text, report).map(Credential::Key)
        }
        ((None, None, Some(text)), _) => {
            spiffe_id(source, text, domains, report).map(Credential::Workload)
        }
        ((None, None, None), Some(_)) => Some(Credential::Client),
        _ => {
            let expected =
                "exactly one of token_digest, public_key, spiffe_id and [oauth]; [oauth] \
                            may stand beside public_key or spiffe_id"
                    .to_owned();
            report.at(
                source,
                file.urn.span(),
                Problem::Missing {
                    key: "credential".to_owned(),
                    expected,
                },
            );
            None
        }
    };
    Some(Agent {
        urn: urn.clone(),
        tenant: file.tenant.get_ref().clone(),
        credential: credential?,
        oauth,
        user: file.user,
        groups,
        run_budget,
    })
}

fn run_budget(source: Source<'_>, section: &RunBudgetSection, report: &mut Report) -> RunBudget {
    let mut positive = |key: &str, limit: &Option<Spanned<u64>>| {
        let limit = limit.as_ref()?;
        if *limit.get_ref() == 0 {
            report.value(source, limit.span(), key, "0", "at least 1");
        }
        Some(*limit.get_ref())
    };
    RunBudget {
        max_tool_calls: positive("run_budget.max_tool_calls", &section.max_tool_calls),
        wall_clock: positive("run_budget.wall_clock_ms", &section.wall_clock_ms)
            .map(Duration::from_millis),
        total_tokens: positive("run_budget.total_tokens", &section.total_tokens),
    }
}

fn client(
    source: Source<'_>,
    section: ClientSection,
    issuers: &BTreeSet<String>,
    report: &mut Report,
) -> Client {
    let ClientSection {
        issuer,
        client,
        own_subject,
    } = section;
    if !issuers.contains(&issuer) {
        let problem = Problem::Unknown {
            what: "issuer",
            name: issuer.clone(),
        };
        report.at(source, client.span(), problem);
    }
    let named = [
        ("client", Some(&client)),
        ("own_subject", own_subject.as_ref()),
    ];
    for (key, text) in named.into_iter().filter_map(|(k, t)| Some((k, t?))) {
        if text.get_ref().is_empty() || text.get_ref().chars().any(char::is_control) {
            report.value(source, text.span(), key, text.get_ref(), "a name");
        }
    }
    Client {
        issuer,
        client: client.into_inner(),
        own_subject: own_subject.map(Spanned::into_inner),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApproverFile {
    id: Spanned<String>,
    name: String,
    public_key: Spanned<String>,
    groups: Vec<Spanned<String>>,
    tenants: Vec<Spanned<String>>,
    #[serde(default)]
    capabilities: Vec<Spanned<String>>,
    profiles: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    accounts: Vec<Spanned<String>>,
}

/// An approver, and where its capabilities are named, which are known only later.
pub(crate) struct ReadApprover {
    pub(crate) approver: Approver,
    pub(crate) capabilities: Vec<Spanned<String>>,
}

/// Reads `approvers/*.toml`.
pub(crate) fn approver(
    source: Source<'_>,
    tenants: &[String],
    issuers: &BTreeSet<String>,
    profiles: &[Profile],
    report: &mut Report,
) -> Option<ReadApprover> {
    let file: ApproverFile = toml_file(source, report)?;
    let id = plain_name(source, "id", &file.id, report);
    let public = key(source, "public_key", &file.public_key, report);
    let groups = names(source, "groups", &file.groups, report);
    for tenant in &file.tenants {
        known_tenant(source, tenant, tenants, report);
    }
    if file.tenants.is_empty() {
        let expected = "at least one tenant".to_owned();
        report.at(
            source,
            file.id.span(),
            Problem::Missing {
                key: "tenants".to_owned(),
                expected,
            },
        );
    }
    for account in &file.accounts {
        let issuer = account
            .get_ref()
            .split_once(':')
            .filter(|(_, n)| !n.is_empty());
        if issuer.is_none_or(|(issuer, _)| !issuers.contains(issuer)) {
            let expected = "<issuer>:<name>, of an issuer of this site";
            report.value(
                source,
                account.span(),
                "accounts",
                account.get_ref(),
                expected,
            );
        }
    }
    let profiles = file
        .profiles
        .map(|listed| known_profiles(source, &listed, profiles, report));
    let approver = Approver {
        id: id?,
        name: file.name,
        key: public?,
        groups,
        tenants: file.tenants.into_iter().map(Spanned::into_inner).collect(),
        capabilities: file
            .capabilities
            .iter()
            .map(|c| c.get_ref().clone())
            .collect(),
        profiles,
        accounts: file.accounts.into_iter().map(Spanned::into_inner).collect(),
    };
    Some(ReadApprover {
        approver,
        capabilities: file.capabilities,
    })
}

/// Names of profiles that exist. A list that lets the person have nothing is a mistake: `nothing` is a profile, too.
fn known_profiles(
    source: Source<'_>,
    listed: &Spanned<Vec<Spanned<String>>>,
    own: &[Profile],
    report: &mut Report,
) -> Vec<String> {
    if listed.get_ref().is_empty() {
        let expected = "at least one profile, or no list".to_owned();
        report.at(
            source,
            listed.span(),
            Problem::Missing {
                key: "profiles".to_owned(),
                expected,
            },
        );
    }
    for name in listed.get_ref() {
        let is_known = BUILT_IN.contains(&name.get_ref().as_str())
            || own.iter().any(|p| p.name() == name.get_ref());
        if !is_known {
            let problem = Problem::Unknown {
                what: "profile",
                name: name.get_ref().clone(),
            };
            report.at(source, name.span(), problem);
        }
    }
    let names = listed.get_ref().iter();
    names.map(|name| name.get_ref().clone()).collect()
}

fn names(
    source: Source<'_>,
    key: &str,
    list: &[Spanned<String>],
    report: &mut Report,
) -> Vec<String> {
    list.iter()
        .filter_map(|name| plain_name(source, key, name, report))
        .collect()
}

pub(crate) fn known_tenant(
    source: Source<'_>,
    name: &Spanned<String>,
    tenants: &[String],
    report: &mut Report,
) {
    if !tenants.contains(name.get_ref()) {
        report.at(
            source,
            name.span(),
            Problem::Unknown {
                what: "tenant",
                name: name.get_ref().clone(),
            },
        );
    }
}

/// `agent:<namespace>/<name>@<version>`, each part of letters, digits, `.`, `_` and `-`.
pub(crate) fn is_agent_urn(urn: &str) -> bool {
    let part = |p: &str| {
        !p.is_empty()
            && p.len() <= 64
            && p.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    urn.strip_prefix("agent:")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(namespace, rest)| {
            rest.split_once('@')
                .map(|(name, version)| [namespace, name, version])
        })
        .is_some_and(|parts| parts.into_iter().all(part))
}
