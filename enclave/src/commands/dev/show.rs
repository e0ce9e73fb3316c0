//! What `countersign dev` tells its developer.
//!
//! In: the drafted tools, addresses, where keys are. Out: text. The token stands in it: it is the developer's own, for
//! this machine alone.

use super::draft::{Drafted, Fate};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::path::Path;

/// What it says first, and at the end again: nobody shall take this for more than it is.
pub(super) const NO_HARDWARE: &str = "For trying only: a software TPM stands in for the hardware, so no hardware vouches for what is recorded here.";

/// Whether text goes to a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// With bold words.
    Terminal,
    /// Plain.
    File,
}

impl Output {
    fn bold(self, text: &str) -> String {
        match self {
            // SPEC: ECMA-48, SGR 1 and 0.
            Self::Terminal => format!("\x1b[1m{text}\x1b[0m"),
            Self::File => text.to_owned(),
        }
    }
}

/// The tools, and what becomes of each.
pub(super) fn tools(name: &str, tools: &[Drafted], output: Output) -> String {
    let mut out = format!(
        "{NO_HARDWARE}\n\n{}\n",
        output.bold(&format!("Tools of {name}"))
    );
    let mut put = |line: String| {
        // Writing into a String cannot fail.
        let _infallible = writeln!(out, "  {}", line.trim_end());
    };
    for Drafted {
        tool,
        fate,
        without,
        example: _,
    } in tools
    {
        // What the server calls its tools is the server's own text.
        let tool: String = tool
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        put(match fate {
            Fate::Passes(why) => format!("passes    {tool:<32} {}", why.words()),
            Fate::Asks(why) => format!("asks you  {tool:<32} {}", why.words()),
            Fate::LeftOut(why) => format!("left out  {tool:<32} {why}"),
        });
        if !without.is_empty() {
            put(format!(
                "          {:<32} without {}",
                "",
                without.join(", ")
            ));
        }
    }
    out.push_str(
        "\nWhat a tool says of itself is its server's own claim. A call that asks you is refused until you approve it.\n",
    );
    out
}

/// Where everything is, once the gateway serves.
#[derive(Debug, Clone)]
pub(super) struct Ready<'a> {
    /// Scheme, host and port.
    pub(super) url: &'a str,
    /// The adapter.
    pub(super) name: &'a str,
    /// The client's token.
    pub(super) token: &'a str,
    /// The tools.
    pub(super) tools: &'a [Drafted],
    /// Where site and state are.
    pub(super) directory: &'a Path,
    pub(super) output: Output,
}

/// How clients are told about the gateway.
pub(super) fn ready(ready: &Ready<'_>) -> String {
    let Ready {
        url,
        name,
        token,
        tools,
        directory,
        output,
    } = ready;
    let mcp = format!("{url}/mcp/{name}");
    let bearer = format!("Bearer {token}");
    let key = directory.join("site/keys/you.key");
    let key = key.display();
    let one = |section: &str, server: Json| {
        let all: Json = json!({ section: { *name: server } });
        serde_json::to_string_pretty(&all).unwrap_or_default()
    };
    let headers = json!({ "Authorization": bearer });
    let cursor = one("mcpServers", json!({ "url": mcp, "headers": headers }));
    let code = one(
        "servers",
        json!({ "type": "http", "url": mcp, "headers": headers }),
    );
    let call = |tool: &str, arguments: &Json| {
        let call = json!({ "capability": format!("{name}.{tool}"), "arguments": arguments });
        let call = shell(&call.to_string());
        format!("  curl -s {url}/v1/calls -H 'authorization: {bearer}' -d {call}")
    };
    let passing = tools.iter().find(|t| matches!(t.fate, Fate::Passes(_)));
    let asking = tools.iter().find(|t| matches!(t.fate, Fate::Asks(_)));
    let mut calls: Vec<String> = passing
        .map(|t| call(&t.tool, &t.example))
        .into_iter()
        .collect();
    // Where nothing asks, a tool that there is not shows a refusal.
    calls.push(asking.map_or_else(
        || call("no_such_tool", &json!({})),
        |t| call(&t.tool, &t.example),
    ));
    let calls = calls.join("\n");
    let title = |text: &str| output.bold(text);
    format!(
        "\n{}\n  {mcp}\n  Authorization: {bearer}\n\
         \n{}\n  claude mcp add --transport http {name} {mcp} --header \"Authorization: {bearer}\"\n\
         \n{}\n{cursor}\n\
         \n{}\n{code}\n\
         \n{}\n{calls}\n\
         \n{}\n  countersign approve list --url {url} --key {key}\n  countersign approve yes ACTION --url {url} --key {key}\n\
         \n{}\n  countersign top --url {url} --key {key}\n\
         \n{}\n  {}\n  Ctrl-C ends it, and writes the record.\n",
        title("The gateway"),
        title("Claude Code"),
        title("Cursor (.cursor/mcp.json), and others with `mcpServers`"),
        title("VS Code (.vscode/mcp.json)"),
        title("curl; the last of these is refused"),
        title("Approve what asks you, in another terminal"),
        title("Where the time goes"),
        title("Files"),
        directory.display(),
    )
}

/// A word of a shell's command line.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Where the record is, and how it is checked.
pub(super) fn ended(directory: &Path, output: Output) -> String {
    let file = |name: &str| directory.join(name).display().to_string();
    format!(
        "\n{}\n  {}\n\n{}\n  countersign-verify {} --trust {} --reference {}\n\n\
         {NO_HARDWARE}\nTrust and reference files were written by this very program, for trying; an auditor writes their own.\n\
         \nGo on with the same gateway:\n  countersign dev --site {} --state {}\n",
        output.bold("The record of this session"),
        file("record.cbor"),
        output.bold("Check it"),
        file("record.cbor"),
        file("trust.toml"),
        file("reference.toml"),
        file("site"),
        file("state"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::draft::Why;
    use super::*;

    #[test]
    fn each_tool_has_a_line_and_nothing_of_a_name_reaches_the_terminal_as_a_command() {
        let drafted = |tool: &str, fate| Drafted {
            tool: tool.to_owned(),
            fate,
            without: vec!["x".to_owned()],
            example: json!({}),
        };
        let text = tools(
            "files",
            &[
                drafted("read", Fate::Passes(Why::SaysItReads)),
                drafted("rm\u{1b}[2J", Fate::Asks(Why::SaysNothing)),
                drafted("odd", Fate::LeftOut("no".to_owned())),
            ],
            Output::File,
        );
        assert!(text.starts_with(NO_HARDWARE), "{text}");
        for words in [
            "passes    read",
            "asks you  rm?[2J",
            "left out  odd",
            "without x",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn clients_are_told_address_and_token_in_their_own_form() {
        let text = ready(&Ready {
            url: "http://127.0.0.1:8480",
            name: "files",
            token: "t0ken",
            tools: &[Drafted {
                tool: "read".to_owned(),
                fate: Fate::Passes(Why::SaysItReads),
                without: Vec::new(),
                example: json!({ "path": "it's" }),
            }],
            directory: Path::new("/d"),
            output: Output::File,
        });
        let address = "http://127.0.0.1:8480/mcp/files";
        let add = format!(
            "claude mcp add --transport http files {address} --header \"Authorization: Bearer t0ken\""
        );
        assert!(text.contains(&add), "{text}");
        let blocks: Vec<Json> = text
            .split("\n{\n")
            .skip(1)
            .map(|rest| {
                let (inner, _) = rest.split_once("\n}\n").unwrap();
                serde_json::from_str(&format!("{{{inner}}}")).unwrap()
            })
            .collect();
        assert_eq!(blocks.len(), 2);
        for (block, section) in blocks.iter().zip(["mcpServers", "servers"]) {
            let server = &block[section]["files"];
            assert_eq!(server["url"], address);
            assert_eq!(server["headers"]["Authorization"], "Bearer t0ken");
        }
        let (_, words) = text.split_once(" -d ").unwrap();
        let (word, _) = words.split_once('\n').unwrap();
        let unquoted = word.trim_matches('\'').replace("'\\''", "'");
        let call: Json = serde_json::from_str(&unquoted).unwrap();
        let expected = json!({ "capability": "files.read", "arguments": { "path": "it's" } });
        assert_eq!(call, expected);
        assert_eq!(word.matches("'\\''").count(), 1, "{word}");
        assert!(text.contains("\"files.no_such_tool\""), "{text}");
    }
}
