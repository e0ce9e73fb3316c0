//! From what a server says of its tools to a site that can be tried.
//!
//! In: the tools as they are listed, keys, and what the developer permits. Out: the files of a site directory, and
//! what becomes of each tool. Pure.
//!
//! A tool's annotations are its server's own words. They are a first guess for trying, which the text that is printed
//! says, and nothing of them counts once a person has decided: what counts is `mode` and the policies, in files.

use crate::commands::tools::readable;
use countersign_json::descriptor::{RawTool, descriptor_digest};
use countersign_policies::input::InputType;
use countersign_record::body::Mode;
use countersign_record::digest::{PublicKey, TenantId};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;

/// The settings' file.
const SETTINGS: &str = include_str!("countersign.toml");

/// Tenant, agent and person of such a site.
const TENANT: &str = "dev";
const AGENT: &str = "agent:dev/client@1";
const PERSON: &str = "you";

/// Longest description of a tool that is written down, in characters: it is for people, and the server's own text
/// reaches agents whole.
const MAX_ABOUT: usize = 200;

/// How the server is reached, as the adapter's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    /// By starting a program.
    Program {
        program: String,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
    },
    /// At an address.
    Url(String),
}

/// Public halves and digests, and where the gateway listens.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) tenant: TenantId,
    pub(super) listen: String,
    pub(super) release: [u8; 65],
    pub(super) governance: PublicKey,
    pub(super) bundle: PublicKey,
    pub(super) recovery: [u8; 32],
    pub(super) token: [u8; 32],
    pub(super) person: PublicKey,
}

/// What becomes of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Calls go through.
    Passes(Why),
    /// Each call waits for a person.
    Asks(Why),
    /// It does not exist for agents.
    LeftOut(String),
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The developer says so.
    Permitted,
    /// The server says that it only reads.
    SaysItReads,
    /// The server says that it writes and destroys nothing.
    SaysItWrites,
    /// The server says that it may destroy.
    SaysItDestroys,
    /// The server says nothing.
    SaysNothing,
}

impl Why {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Permitted => "you permit it",
            Self::SaysItReads => "says that it only reads",
            Self::SaysItWrites => "says that it writes, and destroys nothing",
            Self::SaysItDestroys => "says that it may destroy",
            Self::SaysNothing => "does not say what it does",
        }
    }
}

/// A tool, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drafted {
    pub(super) tool: String,
    pub(super) fate: Fate,
    /// Arguments that agents cannot give.
    pub(super) without: Vec<String>,
    /// Arguments to try it with: something for each that a call must have.
    pub(super) example: Json,
}

/// A site in the making.
#[derive(Debug)]
pub(super) struct Draft {
    /// Path and text of each file.
    pub(super) files: Vec<(String, String)>,
    /// The tools, in the server's order.
    pub(super) tools: Vec<Drafted>,
}

/// Drafts a site for one server; with a profile for its program, if there is one.
pub(super) fn draft(
    (adapter, reached, profile): (&str, &Reached, Option<String>),
    keys: &Keys,
    tools: &[RawTool],
    permitted: &BTreeSet<String>,
) -> Draft {
    let confined = match &profile {
        Some(_) => format!("sandbox = {}\n", quoted(adapter)),
        None => {
            "sandbox = \"none\"   # it runs as you, as it would without the gateway\n".to_owned()
        }
    };
    let mut files = vec![
        ("countersign.toml".to_owned(), settings(keys)),
        (
            format!("adapters/{adapter}.toml"),
            adapter_file(adapter, reached, &confined),
        ),
        ("agents/client.toml".to_owned(), agent(keys)),
        (format!("approvers/{PERSON}.toml"), person(keys)),
        (".gitignore".to_owned(), "/keys/\n/build/\n".to_owned()),
    ];
    files.extend(profile.map(|text| (format!("sandboxes/{adapter}.toml"), text)));
    let mut drafted = Vec::new();
    let (mut passing, mut asking) = (Vec::new(), Vec::new());
    for (number, tool) in (1..).zip(tools) {
        let name = tool.name().to_owned();
        let kept = format!("descriptors/{number:03}.json");
        let judged = capability(adapter, (tool, &kept), permitted.contains(&name));
        let (fate, without, example) = match judged {
            Ok(Capability {
                text,
                descriptor,
                fate,
                without,
                example,
            }) => {
                files.push((kept, descriptor));
                files.push((format!("capabilities/{number:03}.toml"), text));
                let list = match fate {
                    Fate::Passes(_) => &mut passing,
                    Fate::Asks(_) | Fate::LeftOut(_) => &mut asking,
                };
                list.push(format!("{adapter}.{name}"));
                (fate, without, example)
            }
            Err(why) => (Fate::LeftOut(why), Vec::new(), json!({})),
        };
        drafted.push(Drafted {
            tool: name,
            fate,
            without,
            example,
        });
    }
    files.push(("policies/dev.cedar".to_owned(), policies(&passing, &asking)));
    Draft {
        files,
        tools: drafted,
    }
}

fn settings(keys: &Keys) -> String {
    [
        ("TENANT_ID", keys.tenant.to_string()),
        ("LISTEN", keys.listen.clone()),
        ("RELEASE_KEY", hex::encode(keys.release)),
        ("GOVERNANCE_KEY", keys.governance.to_string()),
        ("BUNDLE_KEY", keys.bundle.to_string()),
        ("RECOVERY_KEY", hex::encode(keys.recovery)),
    ]
    .iter()
    .fold(SETTINGS.to_owned(), |text, (name, value)| {
        text.replace(&format!("@{name}@"), value)
    })
}

fn adapter_file(adapter: &str, reached: &Reached, sandbox: &str) -> String {
    let name = quoted(adapter);
    match reached {
        Reached::Url(url) => {
            format!(
                "name = {name}\nkind = \"mcp-http\"\nurl = {}\n",
                quoted(url)
            )
        }
        Reached::Program {
            program,
            arguments,
            environment,
        } => {
            let args: Vec<String> = arguments.iter().map(|a| quoted(a)).collect();
            let environment: Vec<String> = environment
                .iter()
                .map(|(name, value)| format!("{} = {}\n", quoted(name), quoted(value)))
                .collect();
            format!(
                "name = {name}\nkind = \"mcp-stdio\"\ncommand = {}\nargs = [{}]\n{sandbox}\n\
                 [environment]   # all that it gets; not for secrets, because bundles are not secret\n{}",
                quoted(program),
                args.join(", "),
                environment.concat()
            )
        }
    }
}

fn agent(keys: &Keys) -> String {
    format!(
        "# Your client. Shows a static token: assurance 0.\nurn = \"{AGENT}\"\ntenant = \"{TENANT}\"\ntoken_digest = \"{}\"\n",
        hex::encode(keys.token)
    )
}

fn person(keys: &Keys) -> String {
    format!(
        "# You: whoever has keys/{PERSON}.key.\nid = \"{PERSON}\"\nname = \"You\"\npublic_key = \"{}\"\n\
         groups = [\"developer\", \"exporter\", \"operator\"]\ntenants = [\"{TENANT}\"]\n",
        keys.person
    )
}

fn policies(passing: &[String], asking: &[String]) -> String {
    let actions = |ids: &[String]| {
        let all: Vec<String> = ids
            .iter()
            .map(|id| format!("    Action::{}", Json::from(id.as_str())))
            .collect();
        all.join(",\n")
    };
    let mut out = "// Nothing is allowed that no policy permits. A first guess by what the server says of its own tools.\n".to_owned();
    if !passing.is_empty() {
        out.push_str(&format!(
            "\n@id(\"dev-passes\")\npermit (\n  principal in Tenant::\"{TENANT}\",\n  action in [\n{}\n  ],\n  resource\n);\n",
            actions(passing)
        ));
    }
    if !asking.is_empty() {
        out.push_str(&format!(
            "\n@id(\"dev-asks-you\")\n@obligation(\"step_up\")\n@quorum(\"1\")\n@approvers(\"developer\")\n\
             permit (\n  principal in Tenant::\"{TENANT}\",\n  action in [\n{}\n  ],\n  resource\n);\n",
            actions(asking)
        ));
    }
    out
}

struct Capability {
    text: String,
    /// What the tool says of itself, for the file of its own.
    descriptor: String,
    fate: Fate,
    without: Vec<String>,
    example: Json,
}

/// The file of one tool, or why there is none.
fn capability(
    adapter: &str,
    (tool, kept): (&RawTool, &str),
    permitted: bool,
) -> Result<Capability, String> {
    let name = tool.name();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    if name.len() > 128 || !name.bytes().all(plain) {
        return Err("its name has more than letters, digits and _ - . /".to_owned());
    }
    let descriptor: Json = serde_json::from_slice(tool.descriptor())
        .map_err(|_| "its description cannot be read".to_owned())?;
    let digest = descriptor_digest(tool).map_err(|e| e.to_string())?;
    let (schema, without) = narrowed(descriptor.get("inputSchema").unwrap_or(&Json::Null))?;
    let (mode, fate) = judged(&descriptor, permitted);
    let about = descriptor.get("description").and_then(Json::as_str);
    let about: String = about
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_ABOUT)
        .collect();
    // Clients that were not made for it send no keys; somebody who tries a tool out can judge what twice does.
    let repeated = match mode {
        Mode::LocalWrite => "not_needed",
        Mode::ReadOnly | Mode::Network | Mode::Delegated | Mode::Destructive => "optional",
    };
    let text = format!(
        "id = {}\nadapter = {}\ntool = {}\nmode = \"{}\"\ndescription = {}\ndescriptor = \"{digest}\"\ndescriptor_file = {}\n\
         input_schema = {}\nclassification = \"INTERNAL\"\nretention = \"90d\"\nresidency = \"local\"\n\
         idempotency_key = \"{repeated}\"\n",
        quoted(&format!("{adapter}.{name}")),
        quoted(adapter),
        quoted(name),
        mode.name(),
        quoted(&about),
        quoted(kept),
        quoted(&schema.to_string()),
    );
    Ok(Capability {
        text,
        descriptor: readable(tool, digest).map_err(|e| e.to_string())?,
        fate,
        without,
        example: example(&schema),
    })
}

/// Mode and fate, by what the server says of the tool.
///
/// SPEC: MCP, `ToolAnnotations`: `readOnlyHint` is false and `destructiveHint` is true where they are left out.
fn judged(descriptor: &Json, permitted: bool) -> (Mode, Fate) {
    let hint = |name: &str| {
        descriptor
            .pointer(&format!("/annotations/{name}"))?
            .as_bool()
    };
    let reads = hint("readOnlyHint");
    let destroys = hint("destructiveHint");
    match (permitted, reads, destroys) {
        (true, Some(true), _) => (Mode::ReadOnly, Fate::Passes(Why::Permitted)),
        (true, Some(false) | None, _) => (Mode::LocalWrite, Fate::Passes(Why::Permitted)),
        (false, Some(true), Some(true)) => (Mode::Destructive, Fate::Asks(Why::SaysItDestroys)),
        (false, Some(true), Some(false) | None) => (Mode::ReadOnly, Fate::Passes(Why::SaysItReads)),
        (false, Some(false) | None, Some(false)) => {
            (Mode::LocalWrite, Fate::Asks(Why::SaysItWrites))
        }
        (false, Some(false) | None, Some(true)) => {
            (Mode::Destructive, Fate::Asks(Why::SaysItDestroys))
        }
        (false, Some(false) | None, None) => (Mode::Destructive, Fate::Asks(Why::SaysNothing)),
    }
}

/// The schema without arguments that policy could not be shown; those that a call must have leave no schema.
fn narrowed(schema: &Json) -> Result<(Json, Vec<String>), String> {
    let mut out = schema.as_object().cloned().unwrap_or_default();
    out.insert("type".to_owned(), json!("object"));
    for open in ["patternProperties", "additionalProperties"] {
        if out.get(open).is_some_and(Json::is_object) {
            out.remove(open);
        }
    }
    let required: BTreeSet<String> = texts(out.get("required"));
    let properties = out.get("properties").and_then(Json::as_object).cloned();
    let mut without = Vec::new();
    let mut kept = Map::new();
    for (name, property) in properties.unwrap_or_default() {
        let mut alone = out.clone();
        alone.remove("required");
        alone.insert("properties".to_owned(), json!({ name.as_str(): property }));
        match InputType::of_schema(&Json::Object(alone)) {
            Ok(_) => {
                kept.insert(name, property);
            }
            Err(why) if required.contains(&name) => return Err(why),
            Err(_) => without.push(name),
        }
    }
    out.insert("properties".to_owned(), Json::Object(kept));
    let out = Json::Object(out);
    InputType::of_schema(&out)?;
    Ok((out, without))
}

/// Something for each argument that a call must have.
fn example(schema: &Json) -> Json {
    let required = texts(schema.get("required"));
    let fields = InputType::of_schema(schema).unwrap_or_default();
    let some = |name: String| {
        let listed = schema.pointer(&format!("/properties/{name}/enum/0"));
        let value = match fields.get(&name).map(|f| &f.ty) {
            Some(InputType::Bool) => json!(true),
            Some(InputType::Long) => json!(1),
            Some(InputType::Set(_)) => json!([]),
            Some(InputType::Record(_) | InputType::Map(_)) => json!({}),
            Some(InputType::Text) | None => json!(name.to_uppercase()),
        };
        let value = listed.cloned().unwrap_or(value);
        (name, value)
    };
    Json::Object(required.into_iter().map(some).collect())
}

fn texts(list: Option<&Json>) -> BTreeSet<String> {
    let items = list.and_then(Json::as_array).into_iter().flatten();
    items.filter_map(Json::as_str).map(str::to_owned).collect()
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_policies::{Site, SiteFiles};

    fn tool(text: &str) -> RawTool {
        RawTool::parse(text.as_bytes().to_vec().into()).unwrap()
    }

    fn keys() -> Keys {
        Keys {
            tenant: TenantId([1; 16]),
            listen: "127.0.0.1:8480".to_owned(),
            release: [4; 65],
            governance: PublicKey([2; 32]),
            bundle: PublicKey([3; 32]),
            recovery: [5; 32],
            token: [6; 32],
            person: PublicKey([7; 32]),
        }
    }

    fn drafted(tools: &[&str], permitted: &[&str]) -> Draft {
        let tools: Vec<RawTool> = tools.iter().map(|t| tool(t)).collect();
        let permitted = permitted.iter().map(|t| (*t).to_owned()).collect();
        let reached = Reached::Program {
            program: "/usr/bin/node".to_owned(),
            arguments: vec!["a \"b\"\n".to_owned()],
            environment: vec![("PATH".to_owned(), "/bin".to_owned())],
        };
        draft(("files", &reached, None), &keys(), &tools, &permitted)
    }

    fn fates(draft: &Draft) -> Vec<Fate> {
        draft.tools.iter().map(|t| t.fate.clone()).collect()
    }

    const READ: &str =
        r#"{"name":"read","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}"#;
    const WRITE: &str = r#"{"name":"write","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":false,"destructiveHint":false}}"#;
    const DELETE: &str = r#"{"name":"delete","inputSchema":{"type":"object"},"annotations":{"destructiveHint":true}}"#;
    const MUTE: &str =
        r#"{"name":"mute","description":"a\nb\u0007","inputSchema":{"type":"object"}}"#;
    const TORN: &str = r#"{"name":"torn","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true,"destructiveHint":true}}"#;

    #[test]
    fn only_what_says_that_it_reads_passes_and_all_else_asks() {
        let draft = drafted(&[READ, WRITE, DELETE, MUTE, TORN], &[]);
        assert_eq!(
            fates(&draft),
            [
                Fate::Passes(Why::SaysItReads),
                Fate::Asks(Why::SaysItWrites),
                Fate::Asks(Why::SaysItDestroys),
                Fate::Asks(Why::SaysNothing),
                Fate::Asks(Why::SaysItDestroys),
            ]
        );
    }

    #[test]
    fn what_the_developer_permits_passes_whatever_it_says_of_itself() {
        let draft = drafted(&[DELETE, MUTE], &["delete"]);
        assert_eq!(
            fates(&draft),
            [Fate::Passes(Why::Permitted), Fate::Asks(Why::SaysNothing)]
        );
    }

    #[test]
    fn the_drafted_site_holds_together() {
        for tools in [&[READ, WRITE, DELETE, MUTE, TORN][..], &[READ], &[MUTE]] {
            let files = drafted(tools, &[]).files.into_iter();
            let files = SiteFiles(files.filter(|(path, _)| path != ".gitignore").collect());
            let site = Site::parse(&files).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(site.content.capabilities.len(), tools.len());
        }
    }

    #[test]
    fn a_drafted_profile_is_the_programs_own() {
        let reached = Reached::Program {
            program: "/usr/bin/env".to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        let profile = super::super::confine::profile("files", "/usr/bin/env", &[], 1000);
        let of = ("files", &reached, Some(profile));
        let draft = draft(of, &keys(), &[tool(READ)], &BTreeSet::new());
        let files = draft.files.into_iter();
        let files = SiteFiles(files.filter(|(path, _)| path != ".gitignore").collect());
        let site = Site::parse(&files).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(site.content.adapters["files"].sandbox(), Some("files"));
        assert!(site.content.sandboxes.contains_key("files"));
    }

    #[test]
    fn an_argument_that_policy_cannot_see_is_left_out_if_calls_can_do_without() {
        let optional = r#"{"name":"a","inputSchema":{"properties":{"x":{"type":"string"},"y":{"type":["string","integer"]}},"required":["x"],"additionalProperties":{"type":"string"}}}"#;
        let required = r#"{"name":"b","inputSchema":{"type":"object","properties":{"y":{"type":["string","integer"]}},"required":["y"]}}"#;
        let draft = drafted(&[optional, required], &[]);
        assert_eq!(draft.tools[0].without, ["y"]);
        assert!(matches!(draft.tools[0].fate, Fate::Asks(_)));
        assert!(matches!(draft.tools[1].fate, Fate::LeftOut(_)), "{draft:?}");
        assert_eq!(
            draft
                .files
                .iter()
                .filter(|(p, _)| p.starts_with("capabilities/"))
                .count(),
            1
        );
    }

    #[test]
    fn an_example_has_something_for_each_argument_that_a_call_must_have() {
        let text = r#"{"name":"a","inputSchema":{"type":"object","properties":{"path":{"type":"string"},"n":{"type":"integer"},"way":{"type":"string","enum":["up"]},"more":{"type":"string"}},"required":["path","n","way"]}}"#;
        let draft = drafted(&[text], &[]);
        let expected = json!({ "path": "PATH", "n": 1, "way": "up" });
        assert_eq!(draft.tools[0].example, expected);
    }

    #[test]
    fn a_name_that_a_site_cannot_have_is_left_out() {
        let odd = r#"{"name":"a b","inputSchema":{"type":"object"}}"#;
        assert!(matches!(fates(&drafted(&[odd], &[]))[0], Fate::LeftOut(_)));
    }
}
