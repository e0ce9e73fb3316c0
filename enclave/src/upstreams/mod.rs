//! The upstreams of a site, and what their tools look like at this moment.
//!
//! In: adapters of the bundle. Out: calls carried out, and the digest of each tool's descriptor
//! as the upstream lists it now. A listing is read at the start and again every so often; a tool
//! that changed is refused from then on. One dead upstream never affects another.

pub mod carry;
mod follow;
pub mod pool;

use crate::egress::Guard;
use crate::egress::http::UpstreamDial;
use crate::egress::proxy::{Proxies, Reaches};
use crate::sandbox::plan::{COMMAND, Plan};
use crate::talk::questions::Waiting;
use crate::talk::{Client, Principal};
use crate::telemetry::Onward;
use anyhow::Context as _;
use bytes::Bytes;
use carry::Carrying;
use countersign_adapters::{
    Barred, Bounds, CallError, EraChoice, Event, Features, HttpSettings, Launcher, ListError,
    Network, StdioSettings, Trail, Transport, Upstream, UpstreamSettings,
};
use countersign_gateway::execute::{Around, Dispatch, Dispatched, NotSent, Report};
use countersign_gateway::mcp::Declared;
use countersign_gateway::mcp::tasks::EXTENSION;
use countersign_gateway::surface::Observed;
use countersign_json::Limits;
use countersign_json::descriptor::{RawTool, descriptor_digest};
use countersign_json::mirrored::Mirrored;
use countersign_policies::endpoint::EndpointList;
use countersign_policies::site::capability::Tasks;
use countersign_policies::site::method::{Ask, Method};
use countersign_policies::site::people;
use countersign_policies::site::sandbox;
use countersign_policies::{Capability, Content};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::ArtifactDigest;
use countersign_record::egress::{EgressConnection, EgressConnections};
use pool::{Fresh, Pool, Sharing};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::broadcast;

/// Time between two readings of a listing.
pub const LISTING_INTERVAL: Duration = Duration::from_secs(30);

/// Longest time that a call may take at an upstream.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A tool as its upstream lists it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The digest that a bundle pins.
    pub digest: ArtifactDigest,
    /// The descriptor, as it arrived.
    pub descriptor: Bytes,
    /// Which of its arguments headers repeat.
    pub mirrored: Mirrored,
}

/// What an upstream lists and offers.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its tools by name.
    pub tools: HashMap<String, Listed>,
    /// Their names in the upstream's order.
    pub order: Vec<String>,
    /// What it offers beside tools.
    pub features: Arc<Features>,
}

/// Something changed at an adapter.
#[derive(Debug, Clone)]
pub struct Change {
    /// Where.
    pub adapter: String,
    /// Whom it concerns, if not everybody.
    pub of: Option<Principal>,
    /// What.
    pub event: Event,
}

struct Entry {
    name: String,
    pool: Pool,
    /// What any of its capabilities may ask.
    asks: BTreeSet<Ask>,
    listing: RwLock<Option<Arc<Listing>>>,
    /// What kept the listing from being read.
    barred: RwLock<Option<Barred>>,
    changes: broadcast::Sender<Change>,
}

/// All upstreams of a site, and where they tell what changed.
pub struct Upstreams(
    BTreeMap<String, Entry>,
    broadcast::Sender<Change>,
    /// What calls of each capability may reach.
    BTreeMap<String, Arc<EndpointList>>,
);

/// How many changes a slow listener may be behind.
const CHANGES: usize = 1024;

/// How long a server is given to end by itself.
const CLOSING: Duration = Duration::from_secs(2);

impl Upstreams {
    /// The upstreams that a bundle names; nothing is started yet.
    ///
    /// # Errors
    /// If an address is none that may be used.
    pub fn new(content: &Content, guard: &Arc<Guard>) -> anyhow::Result<Self> {
        let mut out = BTreeMap::new();
        let changes = broadcast::channel(CHANGES).0;
        for (name, adapter) in &content.adapters {
            let settings = UpstreamSettings {
                transport: transport(adapter, content, guard)?,
                era: EraChoice::Detect,
                declared: pool::NOTHING.to_owned(),
                bounds: Bounds::STANDARD,
            };
            let sharing = match adapter.shared {
                true => Sharing::Everybody,
                false => Sharing::Nobody,
            };
            let theirs = content.capabilities.values().filter(|c| c.adapter == *name);
            let entry = Entry {
                name: name.clone(),
                pool: Pool::new(settings, sharing),
                asks: theirs.flat_map(|c| c.asks.iter().copied()).collect(),
                listing: RwLock::new(None),
                barred: RwLock::new(None),
                changes: changes.clone(),
            };
            out.insert(name.clone(), entry);
        }
        let reaches = content
            .capabilities
            .values()
            .map(|c| (c.id.clone(), Arc::clone(&c.endpoint_in)));
        Ok(Self(out, changes, reaches.collect()))
    }

    /// Names of all upstreams.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is such an adapter.
    #[must_use]
    pub fn has(&self, adapter: &str) -> bool {
        self.0.contains_key(adapter)
    }

    /// Reads the listing of one upstream anew. A failure forgets the old one: what cannot be seen cannot be called.
    pub async fn refresh(&self, adapter: &str) -> Result<(), String> {
        let Some(entry) = self.0.get(adapter) else {
            return Ok(());
        };
        let base = entry.pool.base();
        let listed = base.list_tools().await;
        entry.note(listed.as_ref().err());
        let listed = listed.map_err(|e| e.to_string());
        let listed = listed.and_then(|tools| {
            let order = tools.iter().map(|tool| tool.name().to_owned()).collect();
            let tools = tools.iter().filter_map(listed_tool);
            let tools = tools.collect::<Result<HashMap<_, _>, String>>()?;
            let features = base.features().unwrap_or_default();
            Ok(Listing {
                tools,
                order,
                features,
            })
        });
        let (listing, outcome) = match listed {
            Ok(listing) => (Some(Arc::new(listing)), Ok(())),
            Err(error) => (None, Err(error)),
        };
        *entry
            .listing
            .write()
            .unwrap_or_else(PoisonError::into_inner) = listing;
        outcome
    }

    /// The listing as it was read last.
    #[must_use]
    pub fn listing(&self, adapter: &str) -> Option<Arc<Listing>> {
        self.0.get(adapter)?.listing()
    }

    /// Carries out a committed call, once.
    pub async fn carry_out(
        &self,
        dispatch: Dispatch,
        dispatched: &Dispatched,
        (of, waiting): (&Principal, &Waiting),
        (client, onward): (&mut Client, &Onward),
    ) -> (Report, ResultKind, Around) {
        let nothing_sent = || {
            let (report, kind) = carry::nothing_sent(NotSent::Unavailable);
            (report, kind, Around::default())
        };
        let Some(entry) = self.0.get(&dispatch.adapter) else {
            return nothing_sent();
        };
        let session = declaration(&client.declared, &entry.asks);
        let Some(handle) = entry.pool.of(of, &session) else {
            return nothing_sent();
        };
        if handle.fresh == Fresh::Yes {
            entry.listen(&handle.upstream, Some(of.clone()));
        }
        let reaches = self.2.get(&dispatch.capability);
        let trail = match reaches {
            Some(list) => Trail::with(Arc::new(Reaches(Arc::clone(list)))),
            None => Trail::default(),
        };
        let upstream = handle.upstream.clone();
        let carrying = Carrying {
            upstream: handle.upstream,
            dispatched,
            of,
            waiting,
            headers: entry.headers(&dispatch),
            declared: told(&client.declared, &dispatch),
            onward,
            trail: trail.clone(),
        };
        let (report, kind) = carrying.carry_out(dispatch, client).await;
        let around = Around {
            egress: connections(&trail),
            sandbox: upstream.sandbox(),
        };
        (report, kind, around)
    }

    /// What is known of a capability: of a tool, how it is described now; of another method, whether the upstream
    /// says that it has it.
    #[must_use]
    pub fn observe(&self, capability: &Capability) -> Observed {
        let Some(entry) = self.0.get(&capability.adapter) else {
            return Observed::Unreachable;
        };
        let Some(listing) = entry.listing() else {
            return match *entry.barred.read().unwrap_or_else(PoisonError::into_inner) {
                Some(Barred::Destination) => Observed::Barred,
                Some(Barred::Certificate) => Observed::Untrusted,
                Some(Barred::Sandbox) => Observed::Unsandboxed,
                None => Observed::Unreachable,
            };
        };
        if capability.method != Method::CallTool {
            return match listing.features.has(capability.method.feature()) {
                true => Observed::Descriptor(capability.descriptor),
                false => Observed::Unlisted,
            };
        }
        match listing.tools.get(&capability.tool) {
            Some(listed) => Observed::Descriptor(listed.digest),
            None => Observed::Unlisted,
        }
    }

    /// Where changes are told: which adapter, to whom if not to all, and what.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.1.subscribe()
    }

    /// Begins to listen to the handles by which listings are read.
    pub fn listen(&self) {
        for entry in self.0.values() {
            entry.listen(entry.pool.base(), None);
        }
    }

    /// Ends servers whose principals have been silent for long.
    pub async fn sweep(&self) {
        for entry in self.0.values() {
            for upstream in entry.pool.idle() {
                upstream.close(CLOSING).await;
            }
        }
    }

    /// Stops all upstreams.
    pub async fn close(&self) {
        for entry in self.0.values() {
            for upstream in entry.pool.all() {
                upstream.close(CLOSING).await;
            }
        }
    }
}

/// What kind of object an answer's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// A tool result, `isError` or not.
    ToolResult,
    /// A JSON-RPC error object.
    ProtocolError,
}

impl ResultKind {
    /// The kind of an answer that was released before: an error object has a numeric `code`, a tool result never.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let limits = Limits::of_bytes(bytes.len());
        let code = countersign_json::scan(bytes, &limits)
            .ok()
            .and_then(|d| d.member("code").map(|c| c.kind));
        match code {
            Some(countersign_json::Kind::Number) => Self::ProtocolError,
            _ => Self::ToolResult,
        }
    }
}

/// A tool of a listing. One whose headers cannot be made out is left out, as if it were not listed.
///
/// SPEC: 2026-07-28, Streamable HTTP, "Schema Extension": clients must exclude such a tool.
fn listed_tool(tool: &RawTool) -> Option<Result<(String, Listed), String>> {
    let mirrored = Mirrored::of_tool(tool).ok()?;
    let listed = descriptor_digest(tool).map_err(|e| e.to_string());
    Some(listed.map(|digest| {
        let listed = Listed {
            digest,
            descriptor: tool.descriptor().clone(),
            mirrored,
        };
        (tool.name().to_owned(), listed)
    }))
}

/// What a server is told of a client: what the client can do, as far as it may be asked for it.
fn declaration(declared: &Declared, asks: &BTreeSet<Ask>) -> String {
    let mut out = String::from("{");
    for (ask, said) in declared.asks.iter().filter(|(ask, _)| asks.contains(ask)) {
        let comma = if out.len() > 1 { "," } else { "" };
        out.push_str(&format!("{comma}\"{}\":{said}", ask.name()));
    }
    out.push('}');
    out
}

/// What a server is told with a call: the same, and that a task may be the answer, where the capability allows that.
fn told(declared: &Declared, dispatch: &Dispatch) -> String {
    let asks = declaration(declared, &dispatch.asks);
    match dispatch.tasks {
        Tasks::Refused => asks,
        Tasks::Followed => {
            let others = asks.strip_suffix('}').unwrap_or_default();
            let comma = if others.len() > 1 { "," } else { "" };
            format!("{others}{comma}\"extensions\":{{\"{EXTENSION}\":{{}}}}}}")
        }
    }
}

/// What a record says of where a call went.
fn connections(trail: &Trail) -> Option<Vec<u8>> {
    let (met, left_out) = trail.taken();
    let connection = |met: countersign_adapters::Met| EgressConnection {
        destination: met.destination,
        address: met.address.map(|a| a.to_string()),
        certificate: met.certificate,
        refused: met.refused.map(str::to_owned),
    };
    let connections: Vec<_> = met.into_iter().map(connection).collect();
    let all = EgressConnections {
        connections,
        left_out,
    };
    (!all.connections.is_empty()).then(|| all.to_bytes())
}

impl Entry {
    /// Remembers why there is no listing. A pause after a failure says nothing new.
    fn note(&self, failed: Option<&ListError>) {
        let kept = match failed {
            Some(ListError::Call(CallError::NotSent(kept))) => Some(kept),
            Some(_) | None => None,
        };
        if matches!(kept, Some(countersign_adapters::NotSent::Pausing { .. })) {
            return;
        }
        let mut barred = self.barred.write().unwrap_or_else(PoisonError::into_inner);
        *barred = kept.and_then(carry::barred);
    }

    fn listing(&self) -> Option<Arc<Listing>> {
        self.listing
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Passes on what a handle tells; for as long as the handle is there.
    fn listen(&self, upstream: &Upstream, of: Option<Principal>) {
        let (mut events, changes) = (upstream.events(), self.changes.clone());
        let adapter = self.name.clone();
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) => {
                        let change = Change {
                            adapter: adapter.clone(),
                            of: of.clone(),
                            event,
                        };
                        // Nobody may be listening.
                        drop(changes.send(change));
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }

    /// Headers that repeat a tool's arguments.
    fn headers(&self, dispatch: &Dispatch) -> Vec<(String, String)> {
        if dispatch.method != Method::CallTool {
            return Vec::new();
        }
        let listing = self.listing();
        let listed = listing.as_ref().and_then(|l| l.tools.get(&dispatch.tool));
        listed.map_or_else(Vec::new, |listed| listed.mirrored.of(&dispatch.arguments))
    }
}

/// How an adapter is reached. A pinned program is compared here, before anything of it runs.
fn transport(
    adapter: &people::Adapter,
    content: &Content,
    guard: &Arc<Guard>,
) -> anyhow::Result<Transport> {
    match &adapter.transport {
        people::Transport::McpHttp(upstream) => {
            let dial = UpstreamDial::new(Arc::clone(guard), upstream.clone())
                .with_context(|| format!("adapter {}", adapter.name))?;
            Ok(Transport::Http(HttpSettings::over(
                &upstream.url,
                Arc::new(dial),
            )?))
        }
        people::Transport::McpStdio {
            command,
            args,
            entry_sha256,
            environment,
            sandbox,
        } => {
            if let Some(expected) = entry_sha256 {
                let program = std::fs::read(command)
                    .with_context(|| format!("adapter {}: {command}", adapter.name))?;
                let found = countersign_record::digest::sha256(&program);
                anyhow::ensure!(
                    found == *expected,
                    "adapter {}: {command} has SHA-256 {}, pinned is {}",
                    adapter.name,
                    hex::encode(found),
                    hex::encode(expected),
                );
            }
            Ok(Transport::Stdio(StdioSettings {
                program: command.into(),
                arguments: args.iter().map(Into::into).collect(),
                directory: None,
                environment: environment
                    .iter()
                    .map(|(k, v)| (k.into(), v.into()))
                    .collect(),
                launcher: sandbox
                    .as_ref()
                    .map(|name| launcher(name, &adapter.name, content, guard))
                    .transpose()?,
            }))
        }
    }
}

/// This very program, as it is in memory: a file of its name may be another one by now.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Who starts a program within a profile.
fn launcher(
    name: &str,
    adapter: &str,
    content: &Content,
    guard: &Arc<Guard>,
) -> anyhow::Result<Launcher> {
    let profile = content
        .sandboxes
        .get(name)
        .with_context(|| format!("adapter {adapter}: no sandbox {name}"))?;
    let network: Option<Arc<dyn Network>> = match profile.network {
        sandbox::Network::None => None,
        sandbox::Network::Proxy => {
            let mut theirs = content
                .capabilities
                .values()
                .filter(|c| c.adapter == adapter);
            anyhow::ensure!(
                guard.can_resolve() || !theirs.any(|c| c.endpoint_in.names_any()),
                "adapter {adapter}: names in endpoint_in have to be resolved, and countersign.toml names no name \
                 server: [egress] nameservers"
            );
            Some(Arc::new(Proxies::new(Arc::clone(guard))))
        }
    };
    Ok(Launcher {
        program: THIS_PROGRAM.into(),
        arguments: vec![COMMAND.into(), Plan::of(profile)?.into()],
        label: format!("profile:{name}:{}", profile.digest),
        network,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatch(tasks: Tasks, asks: &[Ask]) -> Dispatch {
        Dispatch {
            capability: "notes.add".to_owned(),
            adapter: "notes".to_owned(),
            method: Method::CallTool,
            tool: "add".to_owned(),
            arguments: Bytes::from_static(b"{}"),
            answers: None,
            asks: asks.iter().copied().collect(),
            tasks,
        }
    }

    #[test]
    fn a_server_is_told_of_tasks_where_its_capability_allows_one_and_of_no_more() {
        let mut declared = Declared::default();
        declared.asks.insert(Ask::Roots, "{}".to_owned());
        declared.tasks = true;
        let none = told(&declared, &dispatch(Tasks::Refused, &[]));
        assert_eq!(none, "{}");
        let alone = told(&declared, &dispatch(Tasks::Followed, &[]));
        let extension = r#""extensions":{"io.modelcontextprotocol/tasks":{}}"#;
        assert_eq!(alone, format!("{{{extension}}}"));
        let both = told(&declared, &dispatch(Tasks::Followed, &[Ask::Roots]));
        assert_eq!(both, format!(r#"{{"roots":{{}},{extension}}}"#));
    }
}
