//! The running gateway: its parts, its lease, its end.
//!
//! In: an [`Opened`] machine and its [`Epoch`], if one could be opened. Out: [`Gateway`],
//! which [`crate::calls`] and [`crate::doors`] work with, until it is told to stop.

use crate::boot::adopted::Adopted;
use crate::boot::boots::Boots;
use crate::boot::epoch::Epoch;
use crate::boot::held::Held;
use crate::boot::platform::Platform;
use crate::boot::{Opened, tracing_line};
use crate::calls::Reply;
use crate::clock::Clock;
use crate::egress::Guard;
use crate::enrolment::{self, Awaited};
use crate::flow::Flow;
use crate::joint::Joint;
use crate::renewal::{Lease, Parts, Renewer};
use crate::ring::StorageRing;
use crate::site::StateFile;
use crate::stopping::Stoppable;
use crate::strangers::Strangers;
use crate::subjects::Subjects;
use crate::talk::pauses::Pauses;
use crate::talk::questions::Waiting;
use crate::talk::running::Running;
use crate::talk::sessions::Sessions;
use crate::talk::tasks::Tasks;
use crate::telemetry::{self, Telemetry};
use crate::timestamps::{self, Timestamps};
use crate::transport::Transport;
use crate::transport::connection::Connection;
use crate::transport::{files, listener};
use crate::upstreams::{Change, LISTING_INTERVAL, Upstreams};
use crate::witnesses::{self, Asked, Witnesses};
use anyhow::Context as _;
use countersign_adapters::Event as Changed;
use countersign_gateway::call::Who;
use countersign_gateway::identity::{Callers, Nonces};
use countersign_gateway::refusal::Besides;
use countersign_gateway::state::State;
use countersign_journal::{Draft, Journal};
use countersign_policies::{Capability, Engine, Viewer};
use countersign_record::body::{Event, EventKind};
use countersign_record::bundle::{AgentEntry, Registry};
use countersign_record::digest::{GatewayId, PublicKey, UnixMillis};
use countersign_record::entry::{Body, EntryRef};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// Group of people who may fetch exports.
pub const EXPORTERS: &str = "exporter";

/// Group of people who may fetch metrics.
pub const OPERATORS: &str = "operator";

/// Time between two entries that count refusals of unknown callers.
const UNKNOWN_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// Capabilities that a caller may see.
pub type Visible = Arc<Vec<Arc<Capability>>>;

/// An open epoch as the running gateway needs it.
pub struct Serving {
    /// The base.
    pub base: EntryRef,
    /// When it opened.
    pub opened_at: UnixMillis,
    /// Signs receipts.
    pub key: ed25519_dalek::SigningKey,
}

/// The running gateway.
pub struct Gateway {
    /// Which gateway.
    pub id: GatewayId,
    /// Its identity key.
    pub identity: PublicKey,
    /// How requests come in.
    pub transport: Transport,
    /// The signed fleet statement that names this gateway, as it was installed at the start, or was waited for.
    pub fleet: OnceLock<Vec<u8>>,
    /// Whose enrolment is waited for, where a gateway is new with each boot.
    pub awaited: Option<Awaited>,
    /// The epoch; absent when the gateway is held.
    pub serving: Option<Serving>,
    /// Why it is held.
    pub held: Option<Held>,
    /// The compiled bundle.
    pub engine: Engine,
    /// Agents by what they present.
    pub callers: Callers,
    /// People by their keys.
    pub people: Callers,
    /// The log.
    pub journal: Arc<Journal>,
    /// Logs of gateways whose work this one continues.
    pub adopted: Vec<Adopted>,
    /// Logs of earlier starts, where each start is a gateway of its own.
    pub earlier: Option<Boots>,
    /// Who cosigns its checkpoints.
    pub witnesses: Witnesses,
    /// Whose clocks stamp them.
    pub timestamps: Timestamps,
    /// Who is told about calls; nothing depends on it.
    pub telemetry: Telemetry,
    /// The storage key, by version.
    pub ring: StorageRing,
    /// Pseudonyms.
    pub subjects: Subjects,
    /// Held while an erasure is carried out, or a hold is entered: one at a time.
    pub forgetting: tokio::sync::Mutex<()>,
    /// How many erasures were begun since the start. What is read beside one may lack values that no entry explains yet.
    pub erasures: AtomicU64,
    /// Traces of results.
    pub flow: Flow,
    /// The upstreams.
    pub upstreams: Upstreams,
    /// Names of tools at the path that joins all adapters.
    pub joint: Joint,
    /// Sessions of clients that open them.
    pub sessions: Sessions,
    /// Calls that were not answered at once.
    pub tasks: Arc<Tasks>,
    /// Calls whose clients were asked something in the place of an answer.
    pub pauses: Arc<Pauses<Reply>>,
    /// Questions of upstreams that wait for clients.
    pub questions: Waiting,
    /// Calls under way that a person can stop.
    pub stoppable: Arc<Stoppable>,
    /// Held while a stop is entered or resumed: one at a time.
    pub ordering: tokio::sync::Mutex<()>,
    /// Calls that clients can take back.
    pub running: Arc<Running>,
    /// Clocks.
    pub clock: Arc<Clock>,
    /// Whether new calls may be accepted.
    pub lease: Arc<Lease>,
    /// The platform.
    pub platform: Platform,
    /// When evidence on demand was last given, in milliseconds since the start; its pace is limited.
    pub last_fresh: AtomicU64,
    visible: Mutex<HashMap<(String, String, u8), Visible>>,
    state: Arc<Mutex<State>>,
    nonces: Mutex<Nonces>,
    /// Callers whom nobody knows.
    strangers: Strangers,
    calls: Arc<()>,
}

impl Gateway {
    /// The control state. Held for microseconds, never across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The control state, for whoever folds an entry once it is durable.
    pub(crate) fn shared_state(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.state)
    }

    /// What a known caller is told besides a refusal, of a capability where the record names one.
    pub(crate) fn besides(&self, capability: Option<&str>) -> Besides<'_> {
        Besides::of(self.engine.content(), capability)
    }

    /// Capabilities that policy could permit a caller, computed once for each agent and level of assurance.
    pub fn visible(&self, who: &Who) -> Visible {
        let key = (who.tenant_name.clone(), who.agent.clone(), who.assurance);
        let mut known = self.visible.lock().unwrap_or_else(PoisonError::into_inner);
        let compute = || {
            let viewer = Viewer {
                tenant: &who.tenant_name,
                agent: &who.agent,
                assurance: who.assurance,
            };
            Arc::new(
                self.engine
                    .visible(&viewer)
                    .into_iter()
                    .map(Arc::clone)
                    .collect(),
            )
        };
        Arc::clone(known.entry(key).or_insert_with(compute))
    }

    /// Nonces of signed requests.
    pub fn nonces(&self) -> MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal of an unknown caller; an entry counts them all.
    pub fn count_unknown(&self) {
        self.strangers.count();
        self.telemetry.stranger();
    }

    /// Whether a request is looked at now; the error is how many seconds it has to wait because of what nobody known has
    /// sent from its address. Within the machine, in the clear, everybody has one address, and nobody waits.
    ///
    /// # Errors
    /// If it has to wait.
    pub fn let_in(&self, by: &Connection) -> Result<(), u64> {
        if by.is_known() || matches!(self.transport, Transport::Loopback) {
            return Ok(());
        }
        self.strangers.enter(by.peer().ip(), self.clock.micros())
    }

    /// A known caller has spoken on a connection.
    pub fn is_of_a_known_caller(&self, by: &Connection) {
        if !by.is_known() {
            self.strangers.leave(by.peer().ip());
            by.is_of_a_known_caller();
        }
    }

    /// Puts the machine together. `epoch` is an open epoch, or why there is none.
    ///
    /// # Errors
    /// If the bundle does not compile, or an upstream's address may not be used.
    pub fn new(
        opened: Opened,
        epoch: Result<Epoch, Held>,
        asked: Asked,
        transport: Transport,
    ) -> anyhow::Result<(Self, Option<Renewer>)> {
        let id = opened.gateway();
        let identity = opened.identity();
        let (awaited, fleet) = enrolled(&opened)?;
        let Opened {
            settings,
            bundle,
            platform,
            keeper,
            journal,
            state,
            adopted,
            clock,
            ring,
            site,
            earlier,
            ..
        } = opened;
        let engine = Engine::compile(&bundle.0).context("the bundle does not compile")?;
        let registry = bundle.0.content().registry();
        let lease = Arc::new(Lease::default());
        let (serving, renewer, held) = match epoch {
            Err(held) => (None, None, Some(held)),
            Ok(Epoch {
                base,
                opened_at,
                key,
                counter,
                in_force: _,
            }) => {
                let renewer = Renewer::new(Parts {
                    keeper,
                    platform: platform.clone(),
                    journal: Arc::clone(&journal),
                    clock: Arc::clone(&clock),
                    lease: Arc::clone(&lease),
                    base: base.digest,
                    counter,
                    interval: settings.renewal_interval,
                });
                (
                    Some(Serving {
                        base,
                        opened_at,
                        key,
                    }),
                    Some(renewer),
                    None,
                )
            }
        };
        let telemetry = Telemetry::new(&settings.telemetry, &site, engine.content(), &clock)?;
        let subjects = Subjects::new(Arc::clone(&journal), ring.lookup_key()?);
        know(&subjects, &registry, held.is_some())?;
        let gateway = Self {
            id,
            identity,
            transport,
            fleet,
            awaited,
            serving,
            held,
            callers: Callers::of_content(engine.content()),
            people: Callers::new(&people(&registry)),
            upstreams: upstreams(&engine, settings.egress.nameservers)?,
            flow: Flow::new(&engine, clock.now().at)?,
            joint: Joint::of(engine.content().capabilities.values().map(AsRef::as_ref)),
            sessions: Sessions::default(),
            tasks: Arc::default(),
            pauses: Arc::default(),
            questions: Waiting::default(),
            stoppable: Arc::default(),
            ordering: tokio::sync::Mutex::new(()),
            running: Arc::default(),
            engine,
            witnesses: Witnesses::new(
                settings.witnesses,
                settings.witness_rule,
                asked,
                settings.renewal_interval,
            ),
            timestamps: Timestamps::new(settings.timestamping),
            telemetry,
            journal,
            adopted,
            earlier,
            ring,
            subjects,
            forgetting: tokio::sync::Mutex::new(()),
            erasures: AtomicU64::new(0),
            clock,
            lease,
            platform,
            last_fresh: AtomicU64::new(0),
            visible: Mutex::default(),
            nonces: Mutex::new(Nonces::of_log(&state)),
            state: Arc::new(Mutex::new(state)),
            strangers: Strangers::default(),
            calls: Arc::new(()),
        };
        Ok((gateway, renewer))
    }

    /// Evidence over a caller's challenge.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub fn fresh_evidence(&self, qualifying: [u8; 32]) -> anyhow::Result<Vec<u8>> {
        Ok(self.platform.later(qualifying)?.bytes)
    }

    /// Writes down what was only counted; a log that takes no entry tells that by itself.
    fn write_counts(&self) {
        let unknown = self.strangers.take();
        if !self.write_count(EventKind::Unauthenticated, unknown) {
            self.strangers.put_back(unknown);
        }
        let failures = self.witnesses.take_failures();
        if !self.write_count(EventKind::Witness, failures) {
            self.witnesses.put_back_failures(failures);
        }
        let failures = self.timestamps.take_failures();
        if !self.write_count(EventKind::Timestamp, failures) {
            self.timestamps.put_back_failures(failures);
        }
    }

    /// Whether nothing is left to write.
    fn write_count(&self, kind: EventKind, count: u64) -> bool {
        if count == 0 || self.serving.is_none() {
            return true;
        }
        let now = self.clock.now();
        let body = Body::Event(Event {
            kind,
            count,
            detail: None,
        });
        let draft = Draft {
            tenant: None,
            run: None,
            body,
            at: now.at,
            since_boot: now.since_boot,
            disclosures: Vec::new(),
        };
        let written = self.journal.append_and_wait(draft).is_ok();
        if written {
            self.telemetry.event(kind, count);
        }
        written
    }

    /// Takes note of a call that is under way, until the token is dropped.
    #[must_use]
    pub fn under_way(&self) -> Arc<()> {
        Arc::clone(&self.calls)
    }

    /// Waits until no call is under way: one whose client went away is settled all the same.
    async fn drained(&self) {
        while Arc::strong_count(&self.calls) > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// The fleet statement that is installed; where the gateway is new with this boot, who asks for one.
fn enrolled(opened: &Opened) -> anyhow::Result<(Option<Awaited>, OnceLock<Vec<u8>>)> {
    if opened.earlier.is_some() {
        return Ok((Some(Awaited::ask(opened)?), OnceLock::new()));
    }
    let fleet = opened.people.read(StateFile::Fleet)?;
    Ok((None, fleet.map_or_else(OnceLock::new, OnceLock::from)))
}

/// Makes the keys of all subjects that the bundle names, so that no call waits for one.
fn know(subjects: &Subjects, registry: &Registry, held: bool) -> anyhow::Result<()> {
    if held {
        // A held gateway answers questions about its log, and adds nothing to it.
        return Ok(());
    }
    for agent in &registry.agents {
        let Some(tenant) = registry.tenants.iter().find(|t| t.name == agent.tenant) else {
            continue;
        };
        let name = agent.user.as_ref().unwrap_or(&agent.urn);
        subjects
            .of(tenant.id, name)
            .context("a subject's key cannot be kept")?;
    }
    Ok(())
}

/// People sign requests as agents do; their place among callers is their short identifier, in each of their tenants.
fn people(registry: &Registry) -> Registry {
    let agents = registry
        .approvers
        .iter()
        .flat_map(|p| {
            p.tenants.first().map(|tenant| AgentEntry {
                urn: p.id.clone(),
                tenant: tenant.clone(),
                key: Some(p.key),
                token: None,
                user: None,
            })
        })
        .collect();
    Registry {
        tenants: registry.tenants.clone(),
        agents,
        approvers: Vec::new(),
    }
}

/// Serves until `stop` says otherwise; then lets running calls end, and closes the epoch.
///
/// # Errors
/// If the socket cannot be used.
pub async fn run(
    gateway: Arc<Gateway>,
    renewer: Option<Renewer>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    // ORDER: a server is asked to tell of changes when it starts, if somebody listens by then.
    gateway.upstreams.listen();
    for adapter in gateway.upstreams.names() {
        if let Err(error) = gateway.upstreams.refresh(adapter).await {
            tracing_line(&format!("upstream {adapter} is not there: {error}"));
        }
    }
    let listings = tokio::spawn(keep_listings(Arc::clone(&gateway)));
    let changes = tokio::spawn(tell_changes(Arc::clone(&gateway)));
    let unknown = tokio::spawn(keep_unknown(Arc::clone(&gateway)));
    let witnessing = tokio::spawn(witnesses::keep(Arc::clone(&gateway)));
    let stamping = tokio::spawn(timestamps::keep(Arc::clone(&gateway)));
    let enrolling = tokio::spawn(enrolment::wait(Arc::clone(&gateway)));
    let telling = tokio::spawn(telemetry::courier::keep(Arc::clone(&gateway)));
    let scraping = crate::doors::scrape(&gateway).await?;
    let renewals = renewer.map(|r| {
        // The first renewal was made before anybody was told that we are there.
        gateway.timestamps.renewed();
        std::thread::spawn({
            let (gateway, stop) = (Arc::clone(&gateway), stop.clone());
            move || keep_renewing(r, &gateway.timestamps, &stop)
        })
    });
    let router = crate::doors::router(Arc::clone(&gateway));
    let wait = async move {
        // An error means that whoever could say stop is gone; then there is nothing to wait for.
        let _gone = stop.wait_for(|stopped| *stopped).await;
    };
    let looking = match &gateway.transport {
        Transport::Loopback => None,
        Transport::Tls(certificate) => Some(tokio::spawn(Arc::clone(certificate).keep())),
    };
    let places = files::room_for_connections();
    if places < files::MAX_CONNECTIONS {
        tracing_line(&format!(
            "room for {places} connections: the limit of open files allows no more"
        ));
    }
    listener::serve(listener, &gateway.transport, router, places, wait).await?;
    if let Some(looking) = looking {
        looking.abort();
    }
    listings.abort();
    changes.abort();
    unknown.abort();
    enrolling.abort();
    gateway.drained().await;
    witnessing.abort();
    stamping.abort();
    let closing = Arc::clone(&gateway);
    tokio::task::spawn_blocking(move || {
        closing.write_counts();
        close_runs(&closing);
    })
    .await?;
    if let Some(thread) = renewals {
        let renewer = tokio::task::spawn_blocking(move || thread.join()).await?;
        let renewer = renewer.map_err(|_| anyhow::anyhow!("the renewing thread panicked"))?;
        tokio::task::spawn_blocking(move || renewer.close())
            .await?
            .context("the epoch could not be closed")?;
        tracing_line("epoch closed");
        tokio::join!(
            witnesses::last_words(&gateway),
            timestamps::last_words(&gateway)
        );
    }
    gateway.upstreams.close().await;
    if let Some(scraping) = scraping {
        scraping.abort();
    }
    gateway.telemetry.last_words().await;
    telling.abort();
    Ok(())
}

/// Closes runs that have been silent for so long that nothing more belongs to them.
fn close_idle_runs(gateway: &Gateway) {
    let now = gateway.clock.now();
    let idle = gateway.state().idle_runs(now.at);
    for (tenant, run) in idle {
        // A run that cannot be closed now is closed by the next start.
        gateway
            .journal
            .close_run(tenant, run, now.at, now.since_boot, Box::new(|_| ()));
    }
}

/// The tools, reached by the names that these servers resolve.
fn upstreams(engine: &Engine, nameservers: Vec<SocketAddr>) -> anyhow::Result<Upstreams> {
    Upstreams::new(engine.content(), &Arc::new(Guard::new(nameservers)))
}

/// The control state. A panic while it was held would be a bug in a pure fold; the log stays the truth.
pub(crate) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn close_runs(gateway: &Gateway) {
    for (tenant, run) in gateway.journal.open_runs() {
        let now = gateway.clock.now();
        // A run that cannot be closed now is closed by the next start.
        if gateway
            .journal
            .close_run_and_wait(tenant, run, now.at, now.since_boot)
            .is_err()
        {
            tracing_line("a run could not be closed");
        }
    }
}

async fn keep_listings(gateway: Arc<Gateway>) {
    let names: Vec<String> = gateway.upstreams.names().map(str::to_owned).collect();
    loop {
        tokio::time::sleep(LISTING_INTERVAL).await;
        for name in &names {
            if gateway.upstreams.refresh(name).await.is_err() {
                tracing_line("an upstream does not list its tools");
            }
        }
        gateway.upstreams.sweep().await;
        gateway.sessions.sweep();
        gateway.tasks.sweep(gateway.clock.now().at);
    }
}

/// Tells sessions what changed at upstreams. Changed tools are looked at first: what was not registered is not there.
async fn tell_changes(gateway: Arc<Gateway>) {
    let mut changes = gateway.upstreams.changes();
    loop {
        match changes.recv().await {
            Ok(Change { adapter, of, event }) => {
                if event == Changed::ToolsChanged
                    && gateway.upstreams.refresh(&adapter).await.is_err()
                {
                    tracing_line("an upstream does not list its tools");
                }
                gateway.sessions.tell(&adapter, of.as_ref(), &event);
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn keep_unknown(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(UNKNOWN_INTERVAL).await;
        let counting = Arc::clone(&gateway);
        let chores = move || {
            counting.write_counts();
            close_idle_runs(&counting);
        };
        if tokio::task::spawn_blocking(chores).await.is_err() {
            return;
        }
    }
}

/// Whether somebody said stop, or nobody is left who could: then the listener has stopped, too.
fn is_over(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Renews until told to stop, on a thread of its own: a TPM takes its time, and calls do not wait for it.
fn keep_renewing(
    mut renewer: Renewer,
    timestamps: &Timestamps,
    stop: &watch::Receiver<bool>,
) -> Renewer {
    let step = std::time::Duration::from_millis(50);
    let mut waited = std::time::Duration::ZERO;
    while !is_over(stop) {
        std::thread::sleep(step);
        waited = waited.saturating_add(step);
        if waited >= renewer.interval() {
            waited = std::time::Duration::ZERO;
            match renewer.renew() {
                Ok(_) => timestamps.renewed(),
                Err(error) => tracing_line(&format!("renewal failed: {error:#}")),
            }
        }
    }
    renewer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_once_stop_was_said_or_nobody_can_say_it() {
        let (say, hear) = watch::channel(false);
        assert!(!is_over(&hear));
        say.send(true).unwrap();
        assert!(is_over(&hear));
        let (say, hear) = watch::channel(false);
        drop(say);
        assert!(is_over(&hear));
    }
}
