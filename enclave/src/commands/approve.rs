//! `countersign approve …`: a person's word on an action, signed here with their own key.
//!
//! Nothing that the gateway sends is taken on trust: the action's digest, every commitment and
//! the preview are computed here from what is signed.

use super::client::{Ask, Reach, ask_json, block_on};
use crate::keys::{public, random, read_signing_key, sign_statement};
use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use countersign_record::body::Action;
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{Commitment, GatewayId, Nonce, UnixMillis};
use countersign_record::preview::visible;
use countersign_record::statement::{APPROVAL_TYP, ApprovalStatement, Choice};
use ed25519_dalek::SigningKey;
use serde_json::Value;
use std::path::PathBuf;

/// Default time that an approval may be used, in minutes.
const VALID_MINUTES: u64 = 10;

#[derive(Debug, Args)]
pub(crate) struct Who {
    #[command(flatten)]
    gateway: Reach,
    /// The approver's key file.
    #[arg(long)]
    key: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    #[command(flatten)]
    who: Who,
    /// The action: its digest, or enough of its beginning to tell it from others.
    action: String,
}

#[derive(Debug, Args)]
pub(crate) struct Answer {
    #[command(flatten)]
    which: Which,
    /// How long the answer may be used, in minutes.
    #[arg(long, default_value_t = VALID_MINUTES, value_parser = clap::value_parser!(u64).range(1..=60))]
    minutes: u64,
}

/// List, show and answer actions that wait for a person.
#[derive(Debug, Subcommand)]
pub(crate) enum Approve {
    /// List what waits.
    List(Who),
    /// Show one action in full, as it would be signed.
    Show(Which),
    /// Let one action happen, once.
    Yes(Answer),
    /// Refuse one action.
    No(Answer),
}

/// An action that waits, recomputed from what the gateway sent.
struct Waiting {
    gateway: GatewayId,
    action: Action,
    preview: String,
    agent: String,
}

impl Approve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(who) => list(&who),
            Self::Show(which) => {
                let (_, waiting) = one(&which)?;
                show(&waiting);
                Ok(())
            }
            Self::Yes(answer) => give(&answer, Choice::Approve),
            Self::No(answer) => give(&answer, Choice::Refuse),
        }
    }
}

fn list(who: &Who) -> anyhow::Result<()> {
    let (_, waiting) = fetch(who)?;
    if waiting.is_empty() {
        println!("nothing waits for you");
    }
    for w in waiting {
        let id = w.action.digest().to_string();
        let short = id.get(..32).unwrap_or(&id);
        println!(
            "{short}  {}  {}  {}",
            w.action.capability.id,
            w.action.mode,
            visible(&w.agent)
        );
    }
    Ok(())
}

fn show(waiting: &Waiting) {
    print!("{}", waiting.preview);
    println!("\ngateway     {}", waiting.gateway);
    println!("bundle      {}", waiting.action.bundle);
    println!("action      {}", waiting.action.digest());
}

fn give(answer: &Answer, choice: Choice) -> anyhow::Result<()> {
    let (key, waiting) = one(&answer.which)?;
    show(&waiting);
    let issued = crate::clock::Clock::start().now().at;
    let statement = ApprovalStatement {
        gateway: waiting.gateway,
        action: waiting.action.digest(),
        preview: waiting.action.preview,
        approver: public(&key).id(),
        choice,
        issued,
        expires: UnixMillis(
            issued
                .0
                .saturating_add(answer.minutes.saturating_mul(60_000))
                .saturating_sub(1),
        ),
        nonce: Nonce(*random::<32>()?),
    };
    let signed = sign_statement(&key, APPROVAL_TYP, statement.to_bytes());
    let request = Ask {
        method: "POST",
        path: "/v1/approvals",
        query: None,
        body: signed,
        key: None,
    };
    let reply = block_on(ask_json(&answer.which.who.gateway, request))?;
    println!(
        "\n{choice}d, recorded as entry {}",
        reply.get("index").unwrap_or(&Value::Null)
    );
    Ok(())
}

fn one(which: &Which) -> anyhow::Result<(SigningKey, Waiting)> {
    let (key, waiting) = fetch(&which.who)?;
    let mut found = waiting
        .into_iter()
        .filter(|w| w.action.digest().to_string().starts_with(&which.action));
    let (Some(waiting), None) = (found.next(), found.next()) else {
        bail!(
            "not exactly one waiting action begins with {:?}; see `countersign approve list`",
            which.action
        );
    };
    Ok((key, waiting))
}

fn fetch(who: &Who) -> anyhow::Result<(SigningKey, Vec<Waiting>)> {
    let key = read_signing_key(&who.key)?;
    let request = Ask {
        method: "GET",
        path: "/v1/approvals",
        query: None,
        body: Vec::new(),
        key: Some(&key),
    };
    let reply = block_on(ask_json(&who.gateway, request))?;
    let gateway = reply
        .get("gateway")
        .and_then(Value::as_str)
        .and_then(GatewayId::from_hex);
    let gateway = gateway.context("the answer names no gateway")?;
    let items = reply
        .get("waiting")
        .and_then(Value::as_array)
        .context("the answer has no list")?;
    let waiting = items
        .iter()
        .map(|item| recompute(gateway, item))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok((key, waiting))
}

/// Rebuilds what is to be signed from its parts; a part that does not fit is an error.
fn recompute(gateway: GatewayId, item: &Value) -> anyhow::Result<Waiting> {
    let bytes = |v: &Value| {
        v.as_str()
            .and_then(|s| STANDARD.decode(s).ok())
            .context("a field is not base64")
    };
    let action = Action::from_bytes(&bytes(item.get("statement").context("no statement")?)?)?;
    ensure!(action.gateway == gateway, "an action of another gateway");
    let disclosures = item
        .get("disclosures")
        .and_then(Value::as_array)
        .context("no disclosures")?
        .iter()
        .map(|d| Ok(Disclosure::from_bytes(&bytes(d)?)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let open = |field: Field, commitment: Commitment| {
        let found = disclosures
            .iter()
            .find(|d| d.field == field && d.commitment() == commitment);
        let value = found
            .with_context(|| format!("the {field} is not opened"))?
            .value
            .0
            .clone();
        String::from_utf8(value).with_context(|| format!("the {field} is not text"))
    };
    let agent = open(Field::Agent, action.agent)?;
    let arguments = open(Field::Forwarded, action.forwarded)?;
    let preview = open(Field::Preview, action.preview)?;
    // The preview must be the one text that these facts have; the tenant's name stands only in it.
    let tenant = preview
        .lines()
        .find_map(|l| l.strip_prefix("tenant      "))
        .unwrap_or_default()
        .to_owned();
    let expected = countersign_record::preview::Preview {
        tenant: &tenant,
        agent: &agent,
        capability: &action.capability.id,
        mode: action.mode,
        arguments: arguments.as_bytes(),
    };
    ensure!(
        expected.text() == preview,
        "the preview does not say what the action does"
    );
    Ok(Waiting {
        gateway,
        action,
        preview,
        agent,
    })
}
