//! The server that a developer names: what it is called here, how it is started, which tools it lists.
//!
//! In: a command line or an address. Out: [`Server`], with its tools as it lists them at this moment.

use super::draft::Reached;
use anyhow::{Context as _, bail, ensure};
use countersign_adapters::{
    Bounds, EraChoice, HttpSettings, StdioSettings, Transport, Upstream, UpstreamSettings,
};
use countersign_json::descriptor::RawTool;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Variables of the developer's shell that the program gets: what runners such as `npx` and `uvx` need to find their
/// programs and caches. None of them is a place for secrets; the site keeps them.
const PASSED_ON: [&str; 10] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];

/// Programs that only start another one, which the name is taken from.
const RUNNERS: [&str; 12] = [
    "npx", "bunx", "uvx", "uv", "pipx", "run", "tool", "node", "python", "python3", "env", "exec",
];

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    /// The adapter's name.
    pub(super) name: String,
    /// How it is reached.
    pub(super) reached: Reached,
}

impl Server {
    /// Of a command line.
    ///
    /// # Errors
    /// If there is no such program.
    pub(super) fn of_command(command: &[String], name: Option<&str>) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("name a command after --")?;
        let environment = environment();
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let program = found(program, path.map_or("", |(_, value)| value.as_str()))?;
        Ok(Self {
            name: chosen(name, || guessed(command))?,
            reached: Reached::Program {
                program: program.display().to_string(),
                arguments: arguments.to_vec(),
                environment,
            },
        })
    }

    /// At an address.
    ///
    /// # Errors
    /// If it is none that may be used.
    pub(super) fn at(url: &str, name: Option<&str>) -> anyhow::Result<Self> {
        HttpSettings::parse(url).with_context(|| format!("--url {url}"))?;
        Ok(Self {
            name: chosen(name, || "tools".to_owned())?,
            reached: Reached::Url(url.to_owned()),
        })
    }

    /// Its tools. A program is started for that, with the developer's rights, and ended again.
    ///
    /// # Errors
    /// If it does not list them.
    pub(super) async fn tools(&self) -> anyhow::Result<Vec<RawTool>> {
        let transport = match &self.reached {
            Reached::Url(url) => Transport::Http(HttpSettings::parse(url)?),
            Reached::Program {
                program,
                arguments,
                environment,
            } => Transport::Stdio(StdioSettings {
                program: program.into(),
                arguments: arguments.iter().map(Into::into).collect(),
                directory: None,
                environment: environment
                    .iter()
                    .map(|(k, v)| (k.into(), v.into()))
                    .collect(),
                launcher: None,
            }),
        };
        let upstream = Upstream::new(UpstreamSettings {
            transport,
            era: EraChoice::Detect,
            bounds: Bounds::STANDARD,
            // It is only asked for its list.
            declared: "{}".to_owned(),
        });
        let listed = upstream.list_tools().await;
        upstream.close(Duration::from_secs(2)).await;
        let tools = listed.context(
            "the server does not list its tools; does it run by itself, and speak MCP on its standard streams?",
        )?;
        ensure!(!tools.is_empty(), "the server lists no tools");
        Ok(tools)
    }
}

fn environment() -> Vec<(String, String)> {
    let of = |name: &&str| Some(((*name).to_owned(), variable(name)?));
    PASSED_ON.iter().filter_map(of).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's server finds its programs as in their shell; the site has them written down"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The program's file, as a shell would find it.
fn found(program: &str, path: &str) -> anyhow::Result<PathBuf> {
    let runs = |file: &Path| {
        let data = file.metadata();
        data.is_ok_and(|d| d.is_file() && d.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let file = std::path::absolute(program)?;
        ensure!(runs(&file), "{program} is no program");
        return Ok(file);
    }
    let mut places = path
        .split(':')
        .filter(|p| !p.is_empty())
        .map(|p| Path::new(p).join(program));
    match places.find(|file| runs(file)) {
        Some(file) => Ok(std::path::absolute(file)?),
        None => bail!("there is no program {program} in your PATH"),
    }
}

fn chosen(name: Option<&str>, guess: impl FnOnce() -> String) -> anyhow::Result<String> {
    let Some(name) = name else {
        return Ok(guess());
    };
    ensure!(
        name == plain(name) && !name.is_empty(),
        "--name {name}: expected lower-case letters, digits and hyphens"
    );
    Ok(name.to_owned())
}

/// A name out of a command line: `npx -y @modelcontextprotocol/server-filesystem /data` is `filesystem`.
fn guessed(command: &[String]) -> String {
    let names = command
        .iter()
        .filter(|word| !word.starts_with('-'))
        .map(|word| base(word));
    let mut names = names.filter(|name| !name.is_empty() && !RUNNERS.contains(&name.as_str()));
    names.next().unwrap_or_else(|| "tools".to_owned())
}

/// The part of a word that names a server.
fn base(word: &str) -> String {
    // Of a package's scope, directory and version nothing is left, nor of a file's ending.
    let last = word
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let last = last.split(['@', '=']).next().unwrap_or_default();
    let stem = match last.rsplit_once('.') {
        Some((stem, "py" | "js" | "mjs" | "cjs" | "ts" | "sh")) => stem,
        _ => last,
    };
    let name = plain(stem);
    let mut short = name.as_str();
    for prefix in ["mcp-server-", "server-", "mcp-"] {
        short = short.strip_prefix(prefix).unwrap_or(short);
    }
    for suffix in ["-mcp-server", "-mcp", "-server"] {
        short = short.strip_suffix(suffix).unwrap_or(short);
    }
    if short.is_empty() {
        name
    } else {
        short.to_owned()
    }
}

/// As a site's names are: lower-case letters, digits and hyphens, at most 64.
fn plain(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mapped: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(64)
        .collect();
    mapped.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(command: &str) -> String {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        guessed(&words)
    }

    #[test]
    fn a_server_is_named_after_its_package_or_file() {
        for (command, expected) in [
            (
                "npx -y @modelcontextprotocol/server-filesystem /data",
                "filesystem",
            ),
            (
                "npx -y @modelcontextprotocol/server-everything@2026.1.1",
                "everything",
            ),
            ("uvx mcp-server-time", "time"),
            ("uv tool run mcp-server-git==1", "git"),
            ("/opt/venv/bin/python notes.py", "notes"),
            ("/opt/venv/bin/python3 -m mcp_server_fetch", "fetch"),
            ("node ./dist/Weather_MCP.js", "weather"),
            ("mcp-server", "server"),
            ("npx", "tools"),
        ] {
            assert_eq!(name(command), expected, "{command}");
        }
    }

    #[test]
    fn a_name_that_a_site_cannot_have_is_refused() {
        assert_eq!(chosen(Some("my-tools"), String::new).unwrap(), "my-tools");
        for wrong in ["", "My", "a b", "-a", "a_b"] {
            assert!(chosen(Some(wrong), String::new).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_program_is_looked_for_in_the_path_alone() {
        assert!(found("sh", "/nonexistent:/bin").unwrap().is_absolute());
        assert!(found("sh", "").is_err());
        assert!(found("/bin/no-such-program", "/bin").is_err());
        assert!(found("/etc/passwd", "").is_err());
    }
}
