//! `countersign stop`, `resume` and `stops`: calls that a person puts an end to, signed here with the person's own key.

use super::client::{Ask, Reach, ask_json, block_on};
use crate::keys::{public, random, read_signing_key, sign_statement};
use anyhow::{Context as _, ensure};
use clap::Args;
use countersign_record::body::StopAct;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{GatewayId, Nonce, TenantId, UnixMillis};
use countersign_record::preview::visible;
use countersign_record::statement::{STOP_TYP, StopStatement};
use ed25519_dalek::SigningKey;
use serde_json::Value;
use std::path::PathBuf;

/// How long a statement may be handed in: what is signed here is sent at once (ten minutes, for clocks that differ).
const VALID_MILLIS: u64 = 10 * 60 * 1000;

#[derive(Debug, Args)]
struct Person {
    #[command(flatten)]
    gateway: Reach,
    /// The person's key file.
    #[arg(long)]
    key: PathBuf,
}

/// Stop calls, at once: new ones are refused, running ones are cancelled. Of what is named, all must fit a call.
#[derive(Debug, Args)]
pub(crate) struct Order {
    #[command(flatten)]
    person: Person,
    /// Every call.
    #[arg(long, conflicts_with_all = ["tenant", "agent", "capability"])]
    everything: bool,
    /// Calls of this tenant, by its name.
    #[arg(long)]
    tenant: Option<String>,
    /// Calls of this agent, by its URN.
    #[arg(long)]
    agent: Option<String>,
    /// Calls of this capability.
    #[arg(long)]
    capability: Option<String>,
    /// Why.
    #[arg(long)]
    reason: String,
    /// Name of the stop; used once. Made up where none is given.
    #[arg(long)]
    id: Option<String>,
}

/// Let stopped calls go on.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    person: Person,
    /// Name of the stop.
    #[arg(long)]
    id: String,
    /// Why.
    #[arg(long)]
    reason: String,
}

/// List the stops in force.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    person: Person,
}

/// What the gateway says of stops.
struct Known {
    gateway: GatewayId,
    tenants: Vec<(String, TenantId)>,
    stops: Vec<Value>,
    /// In force at a gateway whose work this one continues, and not ordered here.
    taken_over: Vec<Value>,
}

/// What to do about a stop that was taken over.
const ORDER_IT_HERE: &str =
    "order it here by `countersign stop` with this --id, over the same calls";

impl Order {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let named = self.tenant.is_some() || self.agent.is_some() || self.capability.is_some();
        ensure!(
            self.everything || named,
            "say what to stop: --tenant, --agent, --capability, or --everything"
        );
        let key = read_signing_key(&self.person.key)?;
        let reach = &self.person.gateway;
        let known = known(reach, &key)?;
        let tenant = match &self.tenant {
            None => None,
            Some(name) => {
                let found = known.tenants.iter().find(|(n, _)| n == name);
                let (_, id) =
                    found.with_context(|| format!("this person has no tenant {name:?}"))?;
                Some(*id)
            }
        };
        let id = match self.id {
            Some(id) => id,
            None => format!("stop-{}", hex(&*random::<4>()?)),
        };
        let statement = StopStatement {
            act: StopAct::Stopped,
            id,
            tenant,
            capability: self.capability,
            agent: self.agent,
            ..signed_by(&key, known.gateway, self.reason)?
        };
        hand_in(reach, &key, &statement)
    }
}

impl Resume {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let key = read_signing_key(&self.person.key)?;
        let reach = &self.person.gateway;
        let known = known(reach, &key)?;
        let named = |s: &&Value| s.get("id").and_then(Value::as_str) == Some(&self.id);
        let stop = known.stops.iter().find(named);
        ensure!(
            stop.is_some() || !known.taken_over.iter().any(|s| named(&s)),
            "stop {:?} was taken over from another gateway: {ORDER_IT_HERE}, then resume it",
            self.id
        );
        let stop = stop.with_context(|| format!("no stop {:?} is in force", self.id))?;
        let text = |name: &str| stop.get(name).and_then(Value::as_str);
        let statement = StopStatement {
            act: StopAct::Resumed,
            id: self.id.clone(),
            tenant: text("tenant").and_then(TenantId::from_hex),
            capability: text("capability").map(str::to_owned),
            agent: text("agent").map(str::to_owned),
            ..signed_by(&key, known.gateway, self.reason)?
        };
        hand_in(reach, &key, &statement)
    }
}

impl Listing {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let key = read_signing_key(&self.person.key)?;
        let known = known(&self.person.gateway, &key)?;
        if known.stops.is_empty() && known.taken_over.is_empty() {
            println!("nothing is stopped");
        }
        for stop in &known.stops {
            println!(
                "{}  since entry {}: {}",
                known.shown(stop),
                stop.get("index").and_then(Value::as_u64).unwrap_or(0),
                visible(
                    stop.get("reason")
                        .and_then(Value::as_str)
                        .unwrap_or("(the reason cannot be read)")
                ),
            );
        }
        for stop in &known.taken_over {
            let shown = known.shown(stop);
            println!("{shown}  taken over from another gateway; to resume it, {ORDER_IT_HERE}");
        }
        Ok(())
    }
}

impl Known {
    /// A stop's name, and what it covers.
    fn shown(&self, stop: &Value) -> String {
        let text = |name: &str| stop.get(name).and_then(Value::as_str);
        let tenant = text("tenant").and_then(TenantId::from_hex);
        let tenant = tenant.map(|id| {
            let found = self.tenants.iter().find(|(_, t)| *t == id);
            found.map_or_else(|| id.to_string(), |(name, _)| name.clone())
        });
        format!(
            "{}  {}",
            visible(text("id").unwrap_or_default()),
            covers(tenant.as_deref(), text("agent"), text("capability")),
        )
    }
}

/// What a stop covers, in words.
fn covers(tenant: Option<&str>, agent: Option<&str>, capability: Option<&str>) -> String {
    let named = [
        ("tenant", tenant),
        ("agent", agent),
        ("capability", capability),
    ];
    let named: Vec<String> = named
        .into_iter()
        .filter_map(|(what, name)| Some(format!("{what} {}", visible(name?))))
        .collect();
    if named.is_empty() {
        "everything".to_owned()
    } else {
        named.join(", ")
    }
}

/// A statement that says nothing yet but who signs it, for which gateway, when and why.
fn signed_by(
    key: &SigningKey,
    gateway: GatewayId,
    reason: String,
) -> anyhow::Result<StopStatement> {
    let issued = crate::clock::Clock::start().now().at;
    Ok(StopStatement {
        gateway,
        act: StopAct::Stopped,
        id: String::new(),
        tenant: None,
        capability: None,
        agent: None,
        reason,
        signer: public(key).id(),
        issued,
        expires: UnixMillis(issued.0.saturating_add(VALID_MILLIS)),
        nonce: Nonce(*random::<32>()?),
    })
}

fn hand_in(reach: &Reach, key: &SigningKey, statement: &StopStatement) -> anyhow::Result<()> {
    let signed = sign_statement(key, STOP_TYP, statement.to_bytes());
    let request = Ask {
        method: "POST",
        path: "/v1/stops",
        query: None,
        body: signed,
        key: None,
    };
    let reply = block_on(ask_json(reach, request))?;
    let number = |name: &str| reply.get(name).and_then(Value::as_u64).unwrap_or(0);
    let told = match statement.act {
        StopAct::Stopped => format!("; {} running calls were told", number("told")),
        StopAct::Resumed => String::new(),
    };
    println!(
        "{} {}, recorded as entry {}{told}",
        statement.act,
        visible(&statement.id),
        number("index")
    );
    Ok(())
}

fn known(reach: &Reach, key: &SigningKey) -> anyhow::Result<Known> {
    let request = Ask {
        method: "GET",
        path: "/v1/stops",
        query: None,
        body: Vec::new(),
        key: Some(key),
    };
    let reply = block_on(ask_json(reach, request))?;
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str| reply.get(name).and_then(Value::as_array).cloned();
    let gateway = text(&reply, "gateway").and_then(|g| GatewayId::from_hex(&g));
    let tenants = list("tenants").unwrap_or_default();
    Ok(Known {
        gateway: gateway.context("the answer names no gateway")?,
        tenants: tenants
            .iter()
            .filter_map(|t| Some((text(t, "name")?, TenantId::from_hex(&text(t, "id")?)?)))
            .collect(),
        stops: list("stops").context("the answer has no list")?,
        taken_over: list("taken_over").context("the answer has no list")?,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
