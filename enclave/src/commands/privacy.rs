//! `countersign erase` and `countersign hold …`: what is forgotten, and what must be kept, signed here with a person's own key.

use super::client::{Ask, Reach, ask_json, block_on};
use crate::keys::{public, random, read_signing_key, sign_statement};
use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use countersign_record::body::privacy::in_order;
use countersign_record::body::{HoldAct, IndexRange};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{GatewayId, Nonce, SubjectId, TenantId, UnixMillis};
use countersign_record::preview::visible;
use countersign_record::statement::{ERASURE_TYP, ErasureStatement, HOLD_TYP, HoldStatement};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
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

/// Have values destroyed: of a subject, of a call, or of named entries. No copy of the disk brings them back.
#[derive(Debug, Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    person: Person,
    /// The subject's name: a user, or the URN of an agent that acts for nobody. Needs `--tenant`.
    #[arg(long, requires = "tenant", conflicts_with_all = ["call", "entries"])]
    subject: Option<String>,
    /// Name of the subject's tenant.
    #[arg(long, requires = "subject")]
    tenant: Option<String>,
    /// A call, by its identifier.
    #[arg(long, conflicts_with = "entries")]
    call: Option<String>,
    /// Leaf indexes, such as `12..15,20`; both ends are included.
    #[arg(long)]
    entries: Option<String>,
    /// Why: a code such as `gdpr-17`.
    #[arg(long)]
    basis: String,
    /// Show what would be erased, and what stands against it; erase nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Place, lift and list legal holds.
#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Have values kept: nothing that the hold covers can be erased.
    Place(Place),
    /// End a hold.
    Lift(Lift),
    /// List the holds in force.
    List(Listing),
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    person: Person,
    /// Name of the hold; used once.
    #[arg(long)]
    id: String,
    /// Of this subject alone. Needs `--tenant`.
    #[arg(long, requires = "tenant")]
    subject: Option<String>,
    /// Name of the subject's tenant.
    #[arg(long, requires = "subject")]
    tenant: Option<String>,
    /// Of this tenant alone, by its pseudonym.
    #[arg(long, conflicts_with = "subject")]
    tenant_id: Option<String>,
    /// Of these entries alone, such as `12..15`.
    #[arg(long)]
    entries: Option<String>,
    /// Ends by itself after so many days.
    #[arg(long)]
    days: Option<u64>,
    /// Why.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Lift {
    #[command(flatten)]
    person: Person,
    /// Name of the hold.
    #[arg(long)]
    id: String,
    /// Why.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    person: Person,
}

/// What the gateway knows of a subject or call.
struct Known {
    gateway: GatewayId,
    subject: Option<SubjectId>,
    entries: Vec<IndexRange>,
    count: u64,
    holds: Vec<String>,
}

impl Erase {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let key = read_signing_key(&self.person.key)?;
        let reach = &self.person.gateway;
        let question = match (&self.subject, &self.tenant, &self.call, &self.entries) {
            (Some(subject), Some(tenant), None, None) => {
                Some(json!({ "tenant": tenant, "subject": subject }))
            }
            (None, None, Some(call), None) => Some(json!({ "call": call })),
            (None, None, None, Some(_)) => None,
            (_, _, _, _) => bail!("name a subject with its tenant, a call, or entries"),
        };
        let known = match question {
            Some(question) => look(reach, &key, &question)?,
            None => Known {
                gateway: gateway_of(reach)?,
                subject: None,
                entries: ranges(self.entries.as_deref().unwrap_or_default())?,
                count: 0,
                holds: Vec::new(),
            },
        };
        if let Some(subject) = known.subject {
            println!("subject     {subject}");
        }
        let shown: Vec<String> = known.entries.iter().map(shown).collect();
        println!("entries     {}", shown.join(", "));
        if known.count > 0 {
            println!("            {} have values", known.count);
        }
        if !known.holds.is_empty() {
            let holds: Vec<String> = known.holds.iter().map(|h| visible(h)).collect();
            println!("holds       {}", holds.join(", "));
        }
        if self.dry_run {
            println!("nothing was erased: this was a dry run");
            return Ok(());
        }
        let issued = crate::clock::Clock::start().now().at;
        let statement = ErasureStatement {
            gateway: known.gateway,
            subject: known.subject,
            entries: match known.subject {
                Some(_) => Vec::new(),
                None => known.entries,
            },
            basis: self.basis,
            signer: public(&key).id(),
            issued,
            expires: UnixMillis(issued.0.saturating_add(VALID_MILLIS)),
            nonce: Nonce(*random::<32>()?),
        };
        let signed = sign_statement(&key, ERASURE_TYP, statement.to_bytes());
        let reply = post(reach, "/v1/erasures", signed)?;
        println!(
            "erased      {} entries, recorded as entry {}; storage key version {}",
            number(&reply, "count"),
            number(&reply, "index"),
            number(&reply, "ring")
        );
        Ok(())
    }
}

impl HoldCommand {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Place(place) => place.run(),
            Self::Lift(lift) => lift.run(),
            Self::List(list) => list.run(),
        }
    }
}

impl Place {
    fn run(self) -> anyhow::Result<()> {
        let key = read_signing_key(&self.person.key)?;
        let reach = &self.person.gateway;
        let (gateway, subject) = match (&self.subject, &self.tenant) {
            (Some(subject), Some(tenant)) => {
                let question = json!({ "tenant": tenant, "subject": subject });
                let known = look(reach, &key, &question)?;
                println!("{} entries with values are covered now", known.count);
                (known.gateway, known.subject)
            }
            (_, _) => (gateway_of(reach)?, None),
        };
        let tenant = self.tenant_id.as_deref().map(|t| {
            TenantId::from_hex(t).with_context(|| format!("{t:?} is not 32 hexadecimal digits"))
        });
        let entries = match self.entries.as_deref().map(ranges).transpose()?.as_deref() {
            None => None,
            Some([range]) => Some(range.clone()),
            Some(_) => bail!("a hold covers one range of entries"),
        };
        let issued = crate::clock::Clock::start().now().at;
        let until = self
            .days
            .map(|days| UnixMillis(issued.0.saturating_add(days.saturating_mul(86_400_000))));
        let statement = HoldStatement {
            gateway,
            act: HoldAct::Placed,
            id: self.id,
            subject,
            tenant: tenant.transpose()?,
            entries,
            until,
            reason: self.reason,
            signer: public(&key).id(),
            issued,
            expires: UnixMillis(issued.0.saturating_add(VALID_MILLIS)),
            nonce: Nonce(*random::<32>()?),
        };
        hand_in(reach, &key, &statement)
    }
}

impl Lift {
    fn run(self) -> anyhow::Result<()> {
        let key = read_signing_key(&self.person.key)?;
        let reach = &self.person.gateway;
        let (gateway, holds) = holds(reach, &key)?;
        let hold = holds
            .iter()
            .find(|h| h.get("id").and_then(Value::as_str) == Some(&self.id))
            .with_context(|| format!("no hold {:?} is in force", self.id))?;
        let text = |name: &str| hold.get(name).and_then(Value::as_str);
        let issued = crate::clock::Clock::start().now().at;
        let statement = HoldStatement {
            gateway,
            act: HoldAct::Lifted,
            id: self.id.clone(),
            subject: text("subject").and_then(SubjectId::from_hex),
            tenant: text("tenant").and_then(TenantId::from_hex),
            entries: hold.get("entries").and_then(range_of),
            until: hold.get("until").and_then(Value::as_u64).map(UnixMillis),
            reason: self.reason,
            signer: public(&key).id(),
            issued,
            expires: UnixMillis(issued.0.saturating_add(VALID_MILLIS)),
            nonce: Nonce(*random::<32>()?),
        };
        hand_in(reach, &key, &statement)
    }
}

impl Listing {
    fn run(self) -> anyhow::Result<()> {
        let key = read_signing_key(&self.person.key)?;
        let (_, holds) = holds(&self.person.gateway, &key)?;
        if holds.is_empty() {
            println!("no hold is in force");
        }
        for hold in holds {
            let text = |name: &str| hold.get(name).and_then(Value::as_str);
            let mut covers: Vec<String> = Vec::new();
            covers.extend(text("subject").map(|s| format!("subject {s}")));
            covers.extend(text("tenant").map(|t| format!("tenant {t}")));
            let entries = hold.get("entries").and_then(range_of);
            covers.extend(entries.map(|r| format!("entries {}", shown(&r))));
            if covers.is_empty() {
                covers.push("everything".to_owned());
            }
            println!(
                "{}  {}  since entry {}",
                visible(text("id").unwrap_or_default()),
                covers.join(", "),
                number(&hold, "index")
            );
        }
        Ok(())
    }
}

fn hand_in(reach: &Reach, key: &SigningKey, statement: &HoldStatement) -> anyhow::Result<()> {
    let signed = sign_statement(key, HOLD_TYP, statement.to_bytes());
    let reply = post(reach, "/v1/holds", signed)?;
    println!(
        "hold {} {}, recorded as entry {}",
        visible(&statement.id),
        statement.act,
        number(&reply, "index")
    );
    Ok(())
}

fn post(reach: &Reach, path: &str, body: Vec<u8>) -> anyhow::Result<Value> {
    let request = Ask {
        method: "POST",
        path,
        query: None,
        body,
        key: None,
    };
    block_on(ask_json(reach, request))
}

fn look(reach: &Reach, key: &SigningKey, question: &Value) -> anyhow::Result<Known> {
    let request = Ask {
        method: "POST",
        path: "/v1/subjects",
        query: None,
        body: question.to_string().into_bytes(),
        key: Some(key),
    };
    let reply = block_on(ask_json(reach, request))?;
    let entries = reply.get("entries").and_then(Value::as_array);
    let entries = entries.context("the answer has no entries")?;
    let entries: Option<Vec<IndexRange>> = entries.iter().map(range_of).collect();
    let entries = entries.context("the answer has entries that are no ranges")?;
    ensure!(in_order(&entries), "the answer has entries out of order");
    let holds = reply.get("holds").and_then(Value::as_array);
    Ok(Known {
        gateway: named_gateway(&reply)?,
        subject: reply
            .get("subject")
            .and_then(Value::as_str)
            .and_then(SubjectId::from_hex),
        entries,
        count: reply.get("count").and_then(Value::as_u64).unwrap_or(0),
        holds: holds
            .into_iter()
            .flatten()
            .filter_map(|h| h.as_str().map(str::to_owned))
            .collect(),
    })
}

fn holds(reach: &Reach, key: &SigningKey) -> anyhow::Result<(GatewayId, Vec<Value>)> {
    let request = Ask {
        method: "GET",
        path: "/v1/holds",
        query: None,
        body: Vec::new(),
        key: Some(key),
    };
    let reply = block_on(ask_json(reach, request))?;
    let holds = reply.get("holds").and_then(Value::as_array).cloned();
    Ok((
        named_gateway(&reply)?,
        holds.context("the answer has no list")?,
    ))
}

fn gateway_of(reach: &Reach) -> anyhow::Result<GatewayId> {
    let request = Ask {
        method: "GET",
        path: "/healthz",
        query: None,
        body: Vec::new(),
        key: None,
    };
    named_gateway(&block_on(ask_json(reach, request))?)
}

fn named_gateway(reply: &Value) -> anyhow::Result<GatewayId> {
    reply
        .get("gateway")
        .and_then(Value::as_str)
        .and_then(GatewayId::from_hex)
        .context("the answer names no gateway")
}

fn number(reply: &Value, name: &str) -> u64 {
    reply.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn range_of(value: &Value) -> Option<IndexRange> {
    match value.as_array()?.as_slice() {
        [first, last] => Some(IndexRange {
            first: first.as_u64()?,
            last: last.as_u64()?,
        }),
        _ => None,
    }
}

fn shown(range: &IndexRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}..{}", range.first, range.last)
    }
}

/// Reads `12..15,20`, both ends included.
fn ranges(text: &str) -> anyhow::Result<Vec<IndexRange>> {
    let number = |t: &str| {
        t.trim()
            .parse::<u64>()
            .with_context(|| format!("{t:?} is not a leaf index"))
    };
    let ranges = text
        .split(',')
        .map(|part| {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            Ok(IndexRange {
                first: number(first)?,
                last: number(last)?,
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(
        in_order(&ranges),
        "entries are given in ascending order, neighbours as one range"
    );
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_with_both_ends() {
        let found = ranges("12..15, 20").unwrap();
        let range = |first, last| IndexRange { first, last };
        assert_eq!(found, [range(12, 15), range(20, 20)]);
    }

    #[test]
    fn ranges_out_of_order_are_refused() {
        for wrong in ["5..3", "7,6", "1..2,3", "", "a..b", "1..2..3"] {
            assert!(ranges(wrong).is_err(), "{wrong}");
        }
    }
}
