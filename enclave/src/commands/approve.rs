//! `countersign approve …`: a person's word on an action, signed here with their own key.
//!
//! Nothing of what is signed is taken on trust from the gateway: the action's digest, every commitment and
//! the preview are computed here. For whom the agent asks is no part of it, and shown as the gateway says it.

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
    behind: Behind,
}

/// For whom the agent asks. The action names the call, and the record of the call commits to this; the action does not.
struct Behind {
    user: Option<String>,
    /// The chain of its token, each as `<issuer's url>#<name there>`; absent where the gateway cannot open it.
    principals: Option<Vec<String>>,
}

impl Behind {
    fn read(item: &Value) -> anyhow::Result<Self> {
        let said = |key| item.get(key).with_context(|| format!("no {key}"));
        let (user, chain) = (said("user")?, said("principals")?);
        let user = (!user.is_null()).then(|| user.as_str().context("the user is not text"));
        let chain = (!chain.is_null()).then(|| {
            let chain = chain.as_array().context("the principals are no list")?;
            chain.iter().map(principal).collect()
        });
        Ok(Self {
            user: user.transpose()?.map(str::to_owned),
            principals: chain.transpose()?,
        })
    }

    /// `  for <person>`, or nothing.
    fn in_short(&self) -> String {
        let user = self.user.as_ref();
        user.map_or_else(String::new, |user| format!("  for {}", visible(user)))
    }

    /// Lines for a person who decides. No name can begin a line of its own.
    fn lines(&self) -> Vec<String> {
        let Self { user, principals } = self;
        let nobody = "nobody: the agent asks for itself";
        let user = user.as_deref().map(visible);
        let mut out = vec![format!("for         {}", user.as_deref().unwrap_or(nobody))];
        match principals {
            Some(chain) => out.extend(chain.iter().map(|p| format!("behind it   {}", visible(p)))),
            None => out.push("behind it   a chain that the gateway cannot open".to_owned()),
        }
        out
    }
}

fn principal(named: &Value) -> anyhow::Result<String> {
    let text = |key| {
        let value = named.get(key).and_then(Value::as_str);
        value.context("a principal without issuer or name")
    };
    Ok(format!("{}#{}", text("issuer")?, text("subject")?))
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
            "{short}  {}  {}  {}{}",
            w.action.capability.id,
            w.action.mode,
            visible(&w.agent),
            w.behind.in_short()
        );
    }
    Ok(())
}

fn show(waiting: &Waiting) {
    print!("{}", waiting.preview);
    println!("\nAs the gateway says, beside what is signed:");
    waiting.behind.lines().iter().for_each(|l| println!("{l}"));
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
        behind: Behind::read(item)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn behind(item: &Value) -> Behind {
        Behind::read(item).unwrap()
    }

    #[test]
    fn for_whom_an_agent_asks_stands_beside_what_is_signed() {
        let chain = [
            json!({ "issuer": "https://login.example", "subject": "ada" }),
            json!({ "issuer": "https://login.example", "subject": "desk" }),
        ];
        let found = behind(&json!({ "user": "ada", "principals": chain }));
        assert_eq!(found.in_short(), "  for ada");
        assert_eq!(
            found.lines(),
            [
                "for         ada",
                "behind it   https://login.example#ada",
                "behind it   https://login.example#desk",
            ]
        );
        let nobody = behind(&json!({ "user": null, "principals": [] }));
        assert_eq!(nobody.in_short(), "");
        assert_eq!(
            nobody.lines(),
            ["for         nobody: the agent asks for itself"]
        );
        let closed = behind(&json!({ "user": "ada", "principals": null }));
        assert_eq!(
            closed.lines()[1],
            "behind it   a chain that the gateway cannot open"
        );
    }

    #[test]
    fn a_name_begins_no_line_and_steers_no_terminal() {
        let hostile = "ada\ngateway     \u{1b}[2J\u{202e}\u{430}";
        let chain = [json!({ "issuer": hostile, "subject": hostile })];
        let found = behind(&json!({ "user": hostile, "principals": chain }));
        let shown = [found.lines().join("|"), found.in_short()].concat();
        assert!(shown.chars().all(|c| matches!(c, ' '..='~')), "{shown}");
        assert_eq!(found.lines().len(), 2);
        assert!(shown.contains("\\u{a}gateway"), "{shown}");
    }

    #[test]
    fn a_gateway_that_does_not_say_for_whom_is_not_taken_to_say_nobody() {
        for item in [
            json!({}),
            json!({ "user": null }),
            json!({ "principals": [] }),
            json!({ "user": 1, "principals": [] }),
            json!({ "user": "ada", "principals": [{ "issuer": "x" }] }),
            json!({ "user": "ada", "principals": "x" }),
        ] {
            assert!(Behind::read(&item).is_err(), "{item}");
        }
    }
}
