//! What a bundle contains, read and checked as a whole.
//!
//! In: name, environment, version, tenants, and the texts of a site's files. Out:
//! [`Content`], in which every name that is used is declared once, every schema, pattern and
//! shape is compiled, and every policy is typed. A site directory and a bundle are read by
//! this same code, so a bundle is refused at load for the same reasons, with file and line.

use crate::policy::{Known, LoadedPolicy, Place, load, resource_name};
use crate::problem::{Problem, Report, Source};
use crate::schema::{Sandboxes, Tokens, cedar_schema};
use crate::site::SiteFiles;
use crate::site::capability::{Apply, Capability, capability};
use crate::site::contract::demand_held;
use crate::site::issuers::issuer;
use crate::site::people::{
    Adapter, Agent, Approver, Credential, ReadApprover, adapter, agent, approver,
};
use crate::site::profiles::Profile;
use crate::site::refusals::{REFUSALS_FILE, refusals};
use crate::site::sandbox::{self, sandbox};
use crate::site::settings::Tenant;
use crate::site::workloads::trust_domain;
use cedar_policy::Schema;
use countersign_record::bundle::{AgentEntry, ApproverEntry, Registry, TenantEntry};
use countersign_tokens::access::Issuer;
use countersign_tokens::svid::TrustDomain;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Name, environment and version of a bundle, its tenants and its own profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Name of the site.
    pub name: String,
    /// Environment that it is for.
    pub environment: String,
    /// Version.
    pub version: u64,
    /// Tenants.
    pub tenants: Vec<Tenant>,
    /// The site's own disclosure profiles, by name.
    pub profiles: Vec<Profile>,
}

/// Everything that decides.
#[derive(Debug)]
pub struct Content {
    /// Name, environment, version, tenants.
    pub head: Head,
    /// Adapters by name.
    pub adapters: BTreeMap<String, Adapter>,
    /// What programs may touch, by name.
    pub sandboxes: BTreeMap<String, sandbox::Profile>,
    /// Capabilities by id.
    pub capabilities: BTreeMap<String, Arc<Capability>>,
    /// Agents by URN.
    pub agents: BTreeMap<String, Agent>,
    /// Issuers whose tokens count, by their short names.
    pub issuers: BTreeMap<String, Issuer>,
    /// Whose certificates name workloads, by name.
    pub trust_domains: BTreeMap<String, TrustDomain>,
    /// Approvers by id.
    pub approvers: BTreeMap<String, Approver>,
    /// Whom a refused caller is told to ask.
    pub contact: Option<String>,
    /// Policies, in order of file and line.
    pub policies: Vec<LoadedPolicy>,
    /// The generated schema.
    pub schema_text: String,
    pub(crate) schema: Schema,
}

impl Content {
    /// Reads the files; problems go to the report.
    pub(crate) fn read(head: Head, files: &SiteFiles, report: &mut Report) -> Option<Self> {
        let tenants: Vec<String> = head.tenants.iter().map(|t| t.name.clone()).collect();
        let before = report.count();
        let roots: BTreeMap<&str, &str> = files.under("roots/").map(|s| (s.file, s.text)).collect();
        let sandboxes =
            each(files, "sandboxes/", report, sandbox)
                .unique("sandbox", report, |(_, s)| s.name.clone());
        let profiles: BTreeSet<String> = sandboxes.keys().cloned().collect();
        let adapters = each(files, "adapters/", report, |s, r| {
            adapter(s, (&roots, &profiles), r)
        })
        .unique("adapter", report, |(_, a)| a.name.clone());
        let named = ["schemas/", "descriptors/"].into_iter();
        let named: BTreeMap<&str, &str> = named
            .flat_map(|directory| files.under(directory))
            .map(|s| (s.file, s.text))
            .collect();
        let capabilities = each(files, "capabilities/", report, |s, r| {
            capability(s, &named, &tenants, r)
        })
        .unique("capability", report, |(_, c)| c.id.clone());
        let sets: BTreeMap<&str, &str> = files.under("jwks/").map(|s| (s.file, s.text)).collect();
        let issuers = each(files, "issuers/", report, |s, r| issuer(s, &sets, r)).unique(
            "issuer",
            report,
            |(_, i)| i.name.clone(),
        );
        let names: BTreeSet<String> = issuers.keys().cloned().collect();
        let trust_domains = each(files, "trust-domains/", report, |s, r| {
            trust_domain(s, &roots, r)
        })
        .unique("trust domain", report, |(_, d)| d.name().to_owned());
        let domains: BTreeSet<String> = trust_domains.keys().cloned().collect();
        let agents = each(files, "agents/", report, |s, r| {
            agent(s, &tenants, (&names, &domains), r)
        })
        .unique("agent", report, |(_, a)| a.urn.clone());
        let approvers = each(files, "approvers/", report, |s, r| {
            approver(s, &tenants, &names, &head.profiles, r)
        })
        .unique("approver", report, |(_, a)| a.approver.id.clone());
        let told = files.source(REFUSALS_FILE);
        let contact = told.and_then(|source| refusals(source, report));
        // A file that could not be read would make every mention of what it declares look wrong.
        if report.count() == before {
            check_adapters(&capabilities, (&adapters, &sandboxes), report);
            check_credentials(&agents, &approvers, report);
            check_clients(&agents, &approvers, report);
            check_issuers(&issuers, report);
            check_approvers(files, &approvers, &capabilities, report);
        }

        let tokens = if issuers.is_empty() {
            Tokens::None
        } else {
            Tokens::Accepted
        };
        let confined = match adapters.values().any(|(_, a)| a.sandbox().is_some()) {
            true => Sandboxes::Some,
            false => Sandboxes::None,
        };
        let schema_text = cedar_schema(capabilities.values().map(|(_, c)| c), tokens, confined);
        let schema = match Schema::from_cedarschema_str(&schema_text) {
            Ok((schema, _)) => schema,
            Err(e) => {
                report.file(
                    "schema.cedarschema",
                    Problem::Syntax(format!("generated schema is refused: {e}")),
                );
                return None;
            }
        };
        // Types of policies depend on the capabilities; with those broken, errors would mislead.
        if report.count() > before {
            parse_only(files, report);
            return None;
        }
        let known = known(&head, &adapters, &capabilities, &agents, &approvers);
        let policy_files: Vec<Source<'_>> = files.under("policies/").collect();
        let policies = load(&policy_files, &schema, &known, report);
        let content = Self {
            head,
            adapters: strip(adapters),
            sandboxes: strip(sandboxes),
            capabilities: strip(capabilities)
                .into_iter()
                .map(|(id, c)| (id, Arc::new(c)))
                .collect(),
            agents: strip(agents),
            issuers: strip(issuers),
            trust_domains: strip(trust_domains),
            approvers: strip(approvers)
                .into_iter()
                .map(|(id, a)| (id, a.approver))
                .collect(),
            contact,
            policies,
            schema_text,
            schema,
        };
        content.check_obligations(report);
        content.demand_approvers(report);
        (report.count() == before).then_some(content)
    }

    /// Callers and approvers, as an auditor reads them without a policy engine.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let tenants = self
            .head
            .tenants
            .iter()
            .map(|t| TenantEntry {
                id: t.id,
                name: t.name.clone(),
            })
            .collect();
        let agents = self.agents.values().map(agent_entry).collect();
        let approvers = self.approvers.values().map(approver_entry).collect();
        Registry {
            tenants,
            agents,
            approvers,
        }
    }

    /// Layers that are in force whenever a program of this adapter runs; nothing, if the site has no sandbox.
    pub(crate) fn guaranteed(&self, adapter: &str) -> Option<BTreeSet<&'static str>> {
        let has_any = self.adapters.values().any(|a| a.sandbox().is_some());
        let named = self.adapters.get(adapter).and_then(Adapter::sandbox);
        let profile = named.and_then(|name| self.sandboxes.get(name));
        has_any.then(|| {
            let layers = profile.map(|p| p.required.iter().map(|l| l.name()));
            layers.into_iter().flatten().collect()
        })
    }

    /// People who may approve a capability of a tenant, as members of all these groups.
    #[must_use]
    pub fn eligible(&self, tenant: &str, capability: &str, groups: &[String]) -> Vec<&Approver> {
        self.approvers
            .values()
            .filter(|a| a.is_eligible(tenant, capability, groups))
            .collect()
    }

    /// The disclosure profile of this name: one that every gateway has, or the site's own.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<Profile> {
        Profile::built_in(name).or_else(|| {
            self.head
                .profiles
                .iter()
                .find(|p| p.name() == name)
                .cloned()
        })
    }

    /// Every capability of every tenant.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&Tenant, &Arc<Capability>)> {
        self.head.tenants.iter().flat_map(|t| {
            self.capabilities
                .values()
                .filter(|c| c.tenants.contains(&t.name))
                .map(move |c| (t, c))
        })
    }

    /// Agents of a tenant that a policy's head names.
    pub(crate) fn principals<'a>(
        &'a self,
        tenant: &'a str,
        p: &'a LoadedPolicy,
    ) -> impl Iterator<Item = &'a Agent> {
        self.agents
            .values()
            .filter(move |a| a.tenant == tenant && p.scope.names(a))
    }

    /// An obligation that nothing could meet is refused when it is written, not when it is needed.
    fn check_obligations(&self, report: &mut Report) {
        for p in &self.policies {
            if p.obligations.step_up.is_none() && p.obligations.redact.is_empty() {
                continue;
            }
            for (tenant, c) in self.places() {
                let place = Place {
                    tenant: &tenant.name,
                    capability: &c.id,
                    adapter: &c.adapter,
                };
                if !p.scope.covers(&place) || self.principals(&tenant.name, p).next().is_none() {
                    continue;
                }
                let mut wrong = |message: String| {
                    report.line(
                        &p.file,
                        Some(p.line),
                        Problem::Policy {
                            id: p.id.clone(),
                            message,
                        },
                    );
                };
                if let Some(rule) = p
                    .obligations
                    .redact
                    .iter()
                    .find(|r| c.redaction(r).is_none())
                {
                    wrong(format!(
                        "capability {} has no redaction rule {rule:?}",
                        c.id
                    ));
                }
                let Some(step_up) = &p.obligations.step_up else {
                    continue;
                };
                let groups: Vec<String> = step_up
                    .group
                    .iter()
                    .cloned()
                    .chain(c.approvers.clone())
                    .collect();
                let found = self.eligible(&tenant.name, &c.id, &groups).len();
                if found < usize::from(step_up.quorum) {
                    wrong(format!(
                        "needs {} approvers for {} of tenant {}, but only {found} are enrolled for it{}",
                        step_up.quorum,
                        c.id,
                        tenant.name,
                        in_groups(&groups),
                    ));
                }
            }
        }
    }

    /// Redaction rules that apply to every result of a capability.
    pub(crate) fn always_redacted(c: &Capability) -> impl Iterator<Item = &str> {
        c.redactions
            .iter()
            .filter(|r| r.when == Apply::Always)
            .map(|r| r.name.as_str())
    }
}

/// ` in group a and b`, or nothing.
pub(crate) fn in_groups(groups: &[String]) -> String {
    let distinct: BTreeSet<&str> = groups.iter().map(String::as_str).collect();
    if distinct.is_empty() {
        return String::new();
    }
    format!(
        " in group {}",
        distinct.into_iter().collect::<Vec<_>>().join(" and ")
    )
}

fn agent_entry(a: &Agent) -> AgentEntry {
    let (key, token) = match &a.credential {
        Credential::Key(key) => (Some(*key), None),
        Credential::Token(digest) => (None, Some(*digest)),
        Credential::Client | Credential::Workload(_) => (None, None),
    };
    AgentEntry {
        urn: a.urn.clone(),
        tenant: a.tenant.clone(),
        key,
        token,
        user: a.user.clone(),
    }
}

fn approver_entry(a: &Approver) -> ApproverEntry {
    let Approver {
        id,
        name,
        key,
        groups,
        tenants,
        capabilities,
        // Whoever reads an export sees in its manifest what it opens.
        profiles: _,
        // Whose calls the person may not approve is the gateway's to apply.
        accounts: _,
    } = a;
    ApproverEntry {
        id: id.clone(),
        name: name.clone(),
        key: *key,
        groups: groups.clone(),
        tenants: tenants.clone(),
        capabilities: capabilities.clone(),
    }
}

/// What each file of a directory declares, with the file's name.
struct Declared<T>(Vec<(String, T)>);

fn each<T>(
    files: &SiteFiles,
    directory: &str,
    report: &mut Report,
    mut read: impl FnMut(Source<'_>, &mut Report) -> Option<T>,
) -> Declared<T> {
    Declared(
        files
            .under(directory)
            .filter_map(|s| read(s, report).map(|t| (s.file.to_owned(), t)))
            .collect(),
    )
}

type Named<T> = BTreeMap<String, (String, T)>;

impl<T> Declared<T> {
    /// By name; a second declaration is a problem.
    fn unique(
        self,
        what: &'static str,
        report: &mut Report,
        name: impl Fn(&(String, T)) -> String,
    ) -> Named<T> {
        let mut out: Named<T> = BTreeMap::new();
        for declared in self.0 {
            let name = name(&declared);
            if let Some((first, _)) = out.get(&name) {
                let problem = Problem::Duplicate {
                    what,
                    name,
                    first: first.clone(),
                };
                report.file(&declared.0, problem);
            } else {
                out.insert(name, declared);
            }
        }
        out
    }
}

fn strip<T>(named: Named<T>) -> BTreeMap<String, T> {
    named.into_iter().map(|(name, (_, t))| (name, t)).collect()
}

fn check_adapters(
    capabilities: &Named<Capability>,
    (adapters, sandboxes): (&Named<Adapter>, &Named<sandbox::Profile>),
    report: &mut Report,
) {
    for (file, c) in capabilities.values() {
        let adapter = adapters.get(&c.adapter).map(|(_, a)| a);
        let profile = adapter.and_then(Adapter::sandbox);
        let profile = profile.and_then(|name| sandboxes.get(name));
        demand_held((file, c), adapter, profile.map(|(_, p)| p), report);
        if !adapters.contains_key(&c.adapter) {
            report.file(
                file,
                Problem::Unknown {
                    what: "adapter",
                    name: c.adapter.clone(),
                },
            );
        }
    }
}

/// One credential names one party.
fn check_credentials(agents: &Named<Agent>, approvers: &Named<ReadApprover>, report: &mut Report) {
    let mut seen: BTreeMap<[u8; 32], &str> = BTreeMap::new();
    let agents = agents.values().filter_map(|(file, a)| match &a.credential {
        Credential::Token(digest) => Some((file, "token", *digest)),
        Credential::Key(key) => Some((file, "key", key.0)),
        Credential::Client | Credential::Workload(_) => None,
    });
    let approvers = approvers
        .values()
        .map(|(file, a)| (file, "key", a.approver.key.0));
    for (file, what, bytes) in agents.chain(approvers) {
        if let Some(first) = seen.insert(bytes, file) {
            let problem = Problem::Duplicate {
                what,
                name: hex::encode(bytes),
                first: first.to_owned(),
            };
            report.file(file, problem);
        }
    }
}

/// One client or workload is one agent, and one account is one person.
fn check_clients(agents: &Named<Agent>, approvers: &Named<ReadApprover>, report: &mut Report) {
    let clients = agents.values().filter_map(|(file, a)| {
        let client = a.oauth.as_ref()?;
        Some((
            file,
            "client",
            format!("{}:{}", client.issuer, client.client),
        ))
    });
    let accounts = approvers.values().flat_map(|(file, a)| {
        let names = a.approver.accounts.iter();
        names.map(move |name| (file, "account", name.clone()))
    });
    let workloads = agents.values().filter_map(|(file, a)| match &a.credential {
        Credential::Workload(id) => Some((file, "spiffe_id", id.to_string())),
        Credential::Token(_) | Credential::Key(_) | Credential::Client => None,
    });
    let mut seen: BTreeMap<(&str, String), &str> = BTreeMap::new();
    for (file, what, name) in clients.chain(accounts).chain(workloads) {
        if let Some(first) = seen.insert((what, name.clone()), file) {
            let first = first.to_owned();
            report.file(file, Problem::Duplicate { what, name, first });
        }
    }
}

/// A gateway is one resource, whoever issues tokens for it; and one URL is one issuer.
fn check_issuers(issuers: &Named<Issuer>, report: &mut Report) {
    let mut urls: BTreeMap<&str, &str> = BTreeMap::new();
    let resource = issuers.values().next().map(|(_, i)| i.audience.clone());
    for (file, i) in issuers.values() {
        if let Some(first) = urls.insert(&i.url, file) {
            let (name, first) = (i.url.clone(), first.to_owned());
            let what = "url of an issuer";
            report.file(file, Problem::Duplicate { what, name, first });
        }
        if let Some(expected) = resource.as_ref().filter(|r| **r != i.audience) {
            let problem = Problem::Value {
                key: "audience".to_owned(),
                found: i.audience.clone(),
                expected: format!(
                    "{expected}, as another issuer has it: a gateway is one resource"
                ),
            };
            report.file(file, problem);
        }
    }
}

fn check_approvers(
    files: &SiteFiles,
    approvers: &Named<ReadApprover>,
    capabilities: &Named<Capability>,
    report: &mut Report,
) {
    for (file, a) in approvers.values() {
        let Some(source) = files.source(file) else {
            continue;
        };
        for c in a
            .capabilities
            .iter()
            .filter(|c| !capabilities.contains_key(c.get_ref()))
        {
            let problem = Problem::Unknown {
                what: "capability",
                name: c.get_ref().clone(),
            };
            report.at(source, c.span(), problem);
        }
    }
    let groups: BTreeSet<&String> = approvers
        .values()
        .flat_map(|(_, a)| &a.approver.groups)
        .collect();
    for (file, c) in capabilities.values() {
        if let Some(group) = c.approvers.as_ref().filter(|g| !groups.contains(g)) {
            report.file(
                file,
                Problem::Unknown {
                    what: "group of approvers",
                    name: group.clone(),
                },
            );
        }
    }
}

/// The syntax of policies, where their types cannot be checked.
fn parse_only(files: &SiteFiles, report: &mut Report) {
    for source in files.under("policies/") {
        crate::policy::parse(source, report);
    }
}

fn known(
    head: &Head,
    adapters: &Named<Adapter>,
    capabilities: &Named<Capability>,
    agents: &Named<Agent>,
    approvers: &Named<ReadApprover>,
) -> Known {
    let tenants: BTreeSet<String> = head.tenants.iter().map(|t| t.name.clone()).collect();
    let places = capabilities
        .values()
        .flat_map(|(_, c)| c.tenants.iter().map(move |t| resource_name(t, &c.id)))
        .collect();
    BTreeMap::from([
        ("Adapter", adapters.keys().cloned().collect()),
        ("Agent", agents.keys().cloned().collect()),
        ("Capability", places),
        (
            "Group",
            agents
                .values()
                .flat_map(|(_, a)| a.groups.clone())
                .collect(),
        ),
        ("Tenant", tenants),
        (
            "approvers",
            approvers
                .values()
                .flat_map(|(_, a)| a.approver.groups.clone())
                .collect(),
        ),
    ])
}
