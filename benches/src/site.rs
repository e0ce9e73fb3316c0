//! A site with one tool, and a gateway that serves it, started by the commands that a customer
//! types: a software TPM, `release sign`, `bundle build` and `sign`, `enrol`, `serve`. The
//! gateway is the `countersign` program beside the benchmark, in a process of its own.

use crate::load::Requests;
use crate::upstream::{DESCRIPTOR, TOOL};
use anyhow::{Context as _, Result, bail, ensure};
use countersign::keys::sign_statement;
use countersign_json::descriptor::{RawTool, descriptor_digest};
use countersign_record::body::StopAct;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{GatewayId, Nonce, UnixMillis};
use countersign_record::statement::{STOP_TYP, StopStatement};
use countersign_signatures::http::{
    Header, HttpRequest, Scheme, SigningParameters, UnixSeconds, sign_request,
};
use countersign_tests::certificates::Ca;
use ed25519_dalek::{Signer as _, SigningKey};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A process that ends with its handle.
pub struct Running {
    child: Child,
    /// What it said when it was ready.
    pub ready: String,
}

impl Running {
    /// Starts a program and waits for its line `ready …`.
    ///
    /// # Errors
    /// If it ends before.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let Some(ready) = line.trim_end().strip_prefix("ready ") else {
            child.kill()?;
            child.wait()?;
            bail!("{command:?} said {line:?}, expected `ready …`");
        };
        let ready = ready.to_owned();
        Ok(Self { child, ready })
    }

    /// The benchmark itself in another role.
    ///
    /// # Errors
    /// If it does not start.
    pub fn role(arguments: &[&str]) -> Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).args(arguments))
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and waits for that.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.child.id())?;
        let pid = rustix::process::Pid::from_raw(id).context("no process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Kills it, as a power cut does.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn cut(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A site, its state and its software TPM.
pub struct Site {
    program: PathBuf,
    dir: PathBuf,
    tpm: Running,
}

/// Which statement policy permits.
const QUERY: &str = "SELECT * FROM customers WHERE email = 'ada@example.com'";

const CAPABILITY: &str = r#"
id = "bench.read_query"
adapter = "bench"
tool = "@TOOL@"
mode = "read_only"
description = "Look up one customer."
descriptor = "@DESCRIPTOR@"
input_schema = '{"type":"object","properties":{"query":{"type":"string"}},"required":["query"],"additionalProperties":false}'
classification = "CONFIDENTIAL"
retention = "90d"
residency = "eu"
idempotency_key = "optional"
destinations = ["memory:bench"]

[arguments.query]
max_length = 400
alphabet = "ascii_printable"
shapes = [{ name = "customer_by_email", template = "SELECT * FROM customers WHERE email = '{email}'" }]
"#;

const POLICY: &str = r#"
@id("demo-may-read")
@description("Every agent of the demo may look at customers")
permit (principal in Tenant::"demo", action == Action::"bench.read_query", resource);
"#;

impl Site {
    /// Makes a site in `dir` whose one adapter is the MCP server at `upstream`, up to the enrolled gateway.
    ///
    /// # Errors
    /// If a command fails.
    pub fn make(dir: &Path, upstream: &str, renewal_seconds: u64) -> Result<Self> {
        Self::make_with(dir, upstream, renewal_seconds, |_| Ok(()))
    }

    /// The same with all controls, and as large as [`crate::controls`] says.
    ///
    /// # Errors
    /// If a command fails.
    pub fn make_controlled(dir: &Path, upstream: &str, renewal_seconds: u64) -> Result<Self> {
        Self::make_with(dir, upstream, renewal_seconds, crate::controls::add)
    }

    /// The same over TLS, with a certificate of this authority.
    ///
    /// # Errors
    /// If a command fails.
    pub fn make_tls(dir: &Path, upstream: &str, renewal_seconds: u64, ca: &Ca) -> Result<Self> {
        let own = ca.issue("gateway", "IP:127.0.0.1");
        Self::make_with(dir, upstream, renewal_seconds, |site| {
            edit(&site.join("countersign.toml"), |line| {
                Some(if line.starts_with("plain_http") {
                    format!(
                        "\n[tls]\ncertificate = {:?}\nkey = {:?}",
                        own.certificate, own.key
                    )
                } else {
                    line.to_owned()
                })
            })
        })
    }

    fn make_with(
        dir: &Path,
        upstream: &str,
        renewal_seconds: u64,
        more: impl Fn(&Path) -> Result<()>,
    ) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("countersign");
        ensure!(
            program.exists(),
            "{} is not built; build package countersign with the same profile",
            program.display()
        );
        let site = Self {
            tpm: start_tpm(&program, dir)?,
            program,
            dir: dir.to_owned(),
        };
        let tpm = site.tpm.ready.clone();
        site.run(&[
            "init",
            "site",
            "--database",
            "none",
            "--listen",
            "127.0.0.1:0",
            "--tpm",
            &tpm,
        ])?;
        site.fill(upstream, renewal_seconds)?;
        more(&dir.join("site"))?;
        site.run(&[
            "release",
            "sign",
            "--site",
            "site",
            "--key",
            "site/keys/release.key",
        ])?;
        site.run(&["bundle", "build", "--site", "site"])?;
        site.run(&[
            "bundle",
            "sign",
            "--site",
            "site",
            "--key",
            "site/keys/bundle.key",
        ])?;
        let request = ["--site", "site", "--state", "state", "--out", "request"];
        site.run(&[&["enrol", "request"], request.as_slice()].concat())?;
        let governance = ["--key", "site/keys/governance.key"];
        let statement = [
            "--request",
            "request",
            "--fleet",
            "bench",
            "--number",
            "1",
            "--out",
            "fleet",
        ];
        site.run(&[&["enrol", "sign"], governance.as_slice(), &statement].concat())?;
        site.run(&["enrol", "install", "--state", "state", "fleet"])?;
        Ok(site)
    }

    /// Puts our adapter, capability and policy into the place of the example's.
    fn fill(&self, upstream: &str, renewal_seconds: u64) -> Result<()> {
        let site = self.dir.join("site");
        for part in ["adapters", "capabilities", "policies"] {
            fs::remove_dir_all(site.join(part))?;
            fs::create_dir(site.join(part))?;
        }
        let adapter = format!("name = \"bench\"\nkind = \"mcp-http\"\nurl = \"{upstream}\"\n");
        fs::write(site.join("adapters/bench.toml"), adapter)?;
        let tool = RawTool::parse(DESCRIPTOR.as_bytes().to_vec().into())?;
        let capability = CAPABILITY
            .replace("@TOOL@", TOOL)
            .replace("@DESCRIPTOR@", &descriptor_digest(&tool)?.to_string());
        fs::write(site.join("capabilities/read_query.toml"), capability)?;
        fs::write(site.join("policies/bench.cedar"), POLICY)?;
        edit(&site.join("approvers/privacy.toml"), |line| {
            let line = line.replace("[\"privacy\", ", "[\"privacy\", \"stop\", ");
            (!line.starts_with("capabilities")).then_some(line)
        })?;
        edit(&site.join("countersign.toml"), |line| {
            Some(if line.starts_with("interval_seconds") {
                format!("interval_seconds = {renewal_seconds}")
            } else {
                line.to_owned()
            })
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        let done = command.current_dir(&self.dir).args(arguments).output()?;
        ensure!(
            done.status.success(),
            "{command:?} failed: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(())
    }

    /// Starts the gateway and waits until it takes calls.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn serve(&self) -> Result<Gateway> {
        let began = Instant::now();
        let log = fs::File::create(self.dir.join("gateway.log"))?;
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.dir)
            .args(["serve", "--site", "site", "--state", "state"])
            .stderr(log);
        let process = Running::start(&mut command)?;
        let address = process
            .ready
            .split_ascii_whitespace()
            .next()
            .and_then(|url| url.split_once("://"))
            .context("no address")?
            .1
            .to_owned();
        let keys = self.dir.join("site/keys");
        let token = fs::read_to_string(keys.join("agent-reader.token"))?;
        let read = |name: &str| countersign::keys::read_signing_key(&keys.join(name));
        let id = process.ready.split_ascii_whitespace().last();
        let id = id.and_then(GatewayId::from_hex);
        Ok(Gateway {
            id: id.context("the gateway does not say who it is")?,
            process,
            address,
            token: token.trim().to_owned(),
            key: read("agent-erasure.key")?,
            officer: read("approver-privacy.key")?,
            began,
        })
    }

    /// Writes the log as one file.
    ///
    /// # Errors
    /// If the gateway does not give it.
    pub fn export(&self, gateway: &Gateway, out: &Path) -> Result<()> {
        let url = format!("http://{}", gateway.address);
        let out = out.to_str().context("path is not text")?;
        let key = "site/keys/approver-privacy.key";
        self.run(&["export", "--url", &url, "--key", key, "--out", out])
    }

    /// Bytes of the log's database, without the room that is set aside for settlements.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        let files = fs::read_dir(self.dir.join("state/log"))
            .into_iter()
            .flatten();
        files
            .filter_map(Result::ok)
            .filter(|f| f.file_name().to_string_lossy().starts_with("log.sqlite"))
            .filter_map(|f| f.metadata().ok())
            .map(|m| m.len())
            .sum()
    }
}

/// Starts a software TPM. Beside others that start, its two ports may be taken before it has them.
fn start_tpm(program: &Path, dir: &Path) -> Result<Running> {
    let mut last = None;
    for _ in 0..5 {
        let mut command = Command::new(program);
        command.arg("swtpm").arg("--dir").arg(dir.join("tpm"));
        match Running::start(&mut command) {
            Ok(running) => return Ok(running),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no attempt")?)
}

fn edit(path: &Path, line: impl Fn(&str) -> Option<String>) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let lines: Vec<String> = text.lines().filter_map(line).collect();
    Ok(fs::write(path, lines.join("\n") + "\n")?)
}

/// A running gateway.
pub struct Gateway {
    /// Its process.
    pub process: Running,
    /// `host:port`.
    pub address: String,
    /// When its process was started.
    pub began: Instant,
    id: GatewayId,
    token: String,
    key: SigningKey,
    officer: SigningKey,
}

/// Path of the MCP door of our adapter.
const DOOR: &str = "/mcp/bench";

fn body(id: usize) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"{TOOL}\",\"arguments\":{{\"query\":\"{QUERY}\"}},\
         \"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}"
    )
}

/// A `tools/call` with these headers beside the usual ones.
#[must_use]
pub fn request(authority: &str, path: &str, body: &str, headers: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: {TOOL}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The call without a gateway.
#[must_use]
pub fn direct(authority: &str) -> Requests {
    Requests::Same(request(authority, "/mcp", &body(1), ""))
}

impl Gateway {
    /// The call of an agent with a static token (assurance 0).
    #[must_use]
    pub fn with_token(&self) -> Requests {
        let header = format!("authorization: Bearer {}\r\n", self.token);
        Requests::Same(request(&self.address, DOOR, &body(1), &header))
    }

    /// A person's signed word that everything is stopped, or goes on.
    ///
    /// # Errors
    /// If there are no random bytes.
    pub fn stop_order(&self, act: StopAct, id: &str) -> Result<Vec<u8>> {
        let issued = crate::load::wall_micros() / 1000;
        let statement = StopStatement {
            gateway: self.id,
            act,
            id: id.to_owned(),
            tenant: None,
            capability: None,
            agent: None,
            reason: "a measurement".to_owned(),
            signer: countersign::keys::public(&self.officer).id(),
            issued: UnixMillis(issued),
            expires: UnixMillis(issued + 60_000),
            nonce: Nonce(*countersign::keys::random::<32>()?),
        };
        Ok(sign_statement(
            &self.officer,
            STOP_TYP,
            statement.to_bytes(),
        ))
    }

    /// `count` calls of an agent that signs (RFC 9421, assurance 3), signed now.
    ///
    /// # Errors
    /// If they cannot be signed.
    pub fn signed(&self, count: usize) -> Result<Requests> {
        let id = countersign::keys::public(&self.key).id().to_string();
        let created = UnixSeconds(crate::load::wall_micros() / 1_000_000);
        let once: u128 = u128::from_be_bytes(*countersign::keys::random::<16>()?);
        let headers = [
            Header {
                name: "host",
                value: self.address.as_bytes(),
            },
            Header {
                name: "mcp-protocol-version",
                value: b"2026-07-28",
            },
        ];
        let mut out = Vec::with_capacity(count);
        for number in 0..count {
            let body = body(number);
            let what = HttpRequest {
                method: "POST",
                scheme: Scheme::Http,
                authority: &self.address,
                path: DOOR,
                query: None,
                headers: &headers,
                body: body.as_bytes(),
            };
            let nonce = format!("{:032x}", once.wrapping_add(number as u128));
            let parameters = SigningParameters {
                key_id: &id,
                created,
                expires: None,
                nonce: &nonce,
            };
            let made = sign_request(&what, &parameters, |m| self.key.sign(m).to_bytes())?;
            let header = format!(
                "content-digest: {}\r\nsignature-input: {}\r\nsignature: {}\r\n",
                made.content_digest, made.signature_input, made.signature
            );
            out.push(request(&self.address, DOOR, &body, &header));
        }
        Ok(Requests::Once(out))
    }
}
