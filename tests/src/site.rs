//! A site directory for tests: `countersign init` makes keys and settings, the rest is written here.
//!
//! Two tenants. `alpha` (north) shows a token, `beta` (south) signs its requests; the `officer`
//! approves for both and may export. All tools of `fixtures/effects.py` are registered but one.

use crate::process::run;
use crate::{fixture, program};
use countersign_json::descriptor::{RawTool, descriptor_digest};
use countersign_record::digest::PublicKey;
use countersign_signatures::token::TokenHash;
use ed25519_dalek::SigningKey;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a test may choose about its site.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// Time between renewals, in seconds; 5 is the shortest.
    pub renewal_seconds: u64,
    /// Program of the upstream; Python by default.
    pub upstream: Option<String>,
}

impl Default for SiteOptions {
    fn default() -> Self {
        Self {
            renewal_seconds: 600,
            upstream: None,
        }
    }
}

/// A site directory.
#[derive(Debug, Clone)]
pub struct Site {
    path: PathBuf,
}

/// Calls of `scarce` that one tenant may make in an hour.
pub const SCARCE_CALLS: u64 = 3;

impl Site {
    /// Makes a site at `path`, whose tools work in `tools`.
    ///
    /// # Panics
    /// If a file cannot be written.
    #[must_use]
    pub fn make(path: &Path, tools: &Path, tpm: &str, options: &SiteOptions) -> Self {
        let mut init = Command::new(program("countersign"));
        init.arg("init").arg(path);
        init.args([
            "--database",
            "unused",
            "--listen",
            "127.0.0.1:0",
            "--tpm",
            tpm,
        ]);
        run(&mut init);
        let this = Self {
            path: path.to_owned(),
        };
        for directory in [
            "adapters",
            "agents",
            "approvers",
            "capabilities",
            "policies",
        ] {
            fs::remove_dir_all(path.join(directory)).expect("init made it");
            fs::create_dir(path.join(directory)).expect("a site can be written");
        }
        this.write("adapters/effects.toml", &adapter(tools, options));
        this.write("agents/alpha.toml", &this.alpha());
        this.write("agents/beta.toml", &this.beta());
        this.write("approvers/officer.toml", &this.officer());
        this.write("policies/tests.cedar", POLICIES);
        for (name, text) in capabilities() {
            this.write(&format!("capabilities/{name}.toml"), &text);
        }
        this.edit(
            "[listen]",
            &format!(
                "[[tenants]]\nid = \"{}\"\nname = \"south\"\n\n[listen]",
                "5a".repeat(16)
            ),
        );
        this.edit("name = \"demo\"", "name = \"north\"");
        let interval = format!("interval_seconds = {}", options.renewal_seconds);
        this.edit("interval_seconds = 600", &interval);
        this
    }

    /// A site that is there already.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The settings' file.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.file("countersign.toml")
    }

    /// A key file, such as `governance.key`.
    #[must_use]
    pub fn key_file(&self, name: &str) -> PathBuf {
        self.file("keys").join(name)
    }

    /// Writes a file of it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// Replaces a text in the settings; it must stand there once.
    ///
    /// # Panics
    /// If it does not.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.settings()).expect("settings are there");
        assert_eq!(text.matches(from).count(), 1, "{from:?} in the settings");
        self.write("countersign.toml", &text.replacen(from, to, 1));
    }

    /// Adds sections to the settings.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn append_settings(&self, text: &str) {
        let before = fs::read_to_string(self.settings()).expect("settings are there");
        self.write("countersign.toml", &format!("{before}\n{text}"));
    }

    /// Builds and signs the bundle.
    pub fn build(&self) {
        let key = self.key_file("bundle.key");
        let site = |command: &[&str]| {
            let mut out = Command::new(program("countersign"));
            out.args(command).arg("--site").arg(&self.path);
            out
        };
        run(&mut site(&["bundle", "build"]));
        run(site(&["bundle", "sign"]).arg("--key").arg(key));
        run(&mut site(&["bundle", "check"]));
    }

    /// A further upstream, reached as `reached` says, with a read-only capability for every tool of a listing. The
    /// bundle is to be built anew.
    ///
    /// # Panics
    /// If a file cannot be read or written.
    pub fn add_upstream(&self, name: &str, reached: &str, listing: &Path) {
        self.write(
            &format!("adapters/{name}.toml"),
            &format!("name = \"{name}\"\n{reached}\n"),
        );
        for (tool, digest) in listed(listing) {
            self.write(
                &format!("capabilities/{name}-{tool}.toml"),
                &format!(
                    "id = \"{name}.{tool}\"\nadapter = \"{name}\"\ntool = \"{tool}\"\nmode = \"read_only\"\n\
                     description = \"The tool {tool} of {name}.\"\ndescriptor = \"{digest}\"\n\
                     input_schema = '''{{ \"type\": \"object\", \"properties\": {{ \"line\": {{ \"type\": \"string\" }} }}, \
                     \"required\": [\"line\"], \"additionalProperties\": false }}'''\n\
                     classification = \"INTERNAL\"\nretention = \"90d\"\nresidency = \"eu\"\nidempotency_key = \"optional\"\n"
                ),
            );
        }
    }

    /// A further person, with a key file `<id>.key`; `more` ends their file. The bundle is to be built anew.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn add_person(&self, id: &str, more: &str) {
        let public = self.add_key(&format!("{id}.key"));
        self.write(
            &format!("approvers/{id}.toml"),
            &format!("id = \"{id}\"\nname = \"{id}\"\npublic_key = \"{public}\"\n{more}\n"),
        );
    }

    /// A further agent that signs its requests, with a key file `<name>.key`; `more` ends its file.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn add_agent(&self, name: &str, more: &str) {
        let public = self.add_key(&format!("{name}.key"));
        self.write(
            &format!("agents/{name}.toml"),
            &format!("urn = \"agent:tests/{name}@1\"\npublic_key = \"{public}\"\n{more}\n"),
        );
    }

    fn add_key(&self, file: &str) -> PublicKey {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("random bytes of the system");
        self.write(&format!("keys/{file}"), &hex::encode(seed));
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.key_file(file), private).expect("permissions can be set");
        self.public_key(file)
    }

    /// Gives a tool's results another classification. The bundle is to be built anew.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn classify(&self, tool: &str, classification: &str) {
        let file = format!("capabilities/{tool}.toml");
        let text = fs::read_to_string(self.file(&file)).expect("a capability is there");
        let from = "classification = \"INTERNAL\"";
        assert_eq!(text.matches(from).count(), 1, "{file}");
        self.write(
            &file,
            &text.replace(from, &format!("classification = \"{classification}\"")),
        );
    }

    /// Puts a line into a tool's file. The bundle is to be built anew.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn extend_capability(&self, tool: &str, line: &str) {
        let file = format!("capabilities/{tool}.toml");
        let text = fs::read_to_string(self.file(&file)).expect("a capability is there");
        self.write(&file, &format!("{line}\n{text}"));
    }

    /// An Ed25519 key of `keys/`.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn signing_key(&self, name: &str) -> SigningKey {
        let text =
            fs::read_to_string(self.key_file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut seed = [0; 32];
        hex::decode_to_slice(text.trim(), &mut seed)
            .expect("a key file is one line of hexadecimal");
        SigningKey::from_bytes(&seed)
    }

    /// The public half of a key of `keys/`.
    #[must_use]
    pub fn public_key(&self, name: &str) -> PublicKey {
        PublicKey(self.signing_key(name).verifying_key().to_bytes())
    }

    /// The token of `alpha`.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn token(&self) -> String {
        let text = fs::read_to_string(self.key_file("agent-reader.token")).expect("init made it");
        text.trim().to_owned()
    }

    fn alpha(&self) -> String {
        let hash = TokenHash::of(&self.token()).expect("init made a token");
        format!(
            "urn = \"{ALPHA}\"\ntenant = \"north\"\ntoken_digest = \"{}\"\ngroups = [\"north\"]\n",
            hex::encode(hash.as_bytes())
        )
    }

    fn beta(&self) -> String {
        let key = self.public_key(BETA_KEY);
        format!("urn = \"{BETA}\"\ntenant = \"south\"\npublic_key = \"{key}\"\ngroups = []\n")
    }

    fn officer(&self) -> String {
        let key = self.public_key(OFFICER_KEY);
        format!(
            "id = \"officer\"\nname = \"Officer\"\npublic_key = \"{key}\"\ngroups = [\"officers\", \"exporter\", \"privacy\", \"legal\", \"stop\"]\n\
             tenants = [\"north\", \"south\"]\ncapabilities = [\"effects.erase\"]\n"
        )
    }
}

/// Agent of the tenant north; shows a token.
pub const ALPHA: &str = "agent:tests/alpha@1";
/// Agent of the tenant south; signs its requests.
pub const BETA: &str = "agent:tests/beta@1";
/// Key file of [`BETA`].
pub const BETA_KEY: &str = "agent-erasure.key";
/// Key file of the person who approves and exports.
pub const OFFICER_KEY: &str = "approver-privacy.key";

const POLICIES: &str = r#"
@id("tests-may-call")
permit (principal, action in Action::"call", resource)
unless { resource.id == "effects.northern" || resource.id == "effects.erase" };

@id("north-only")
permit (principal in Group::"north", action == Action::"effects.northern", resource);

@id("erase-with-approval")
@obligation("step_up")
@quorum("1")
@approvers("officers")
permit (principal, action == Action::"effects.erase", resource);
"#;

fn adapter(tools: &Path, options: &SiteOptions) -> String {
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    let program = options.upstream.clone().unwrap_or_else(python);
    format!(
        "name = \"effects\"\nkind = \"mcp-stdio\"\ncommand = {program:?}\nargs = [\"-I\", \"-S\", {}, {}, {}]\nsandbox = \"none\"\n",
        quoted(&fixture("effects.py")),
        quoted(&fixture("tools.json")),
        quoted(tools),
    )
}

/// A Python that runs without its user's environment.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn python() -> String {
    let system = Path::new("/usr/bin/python3");
    if system.is_file() {
        return system.display().to_string();
    }
    let ask = ["-c", "import sys; print(sys.executable)"];
    run(Command::new("python3").args(ask)).trim().to_owned()
}

/// The registered tools, as files of the site.
fn capabilities() -> Vec<(String, String)> {
    listed(&fixture("tools.json"))
        .into_iter()
        .filter_map(|(name, digest)| Some((name.clone(), capability(&name, &digest)?)))
        .collect()
}

/// Names and descriptors' digests of a listing.
fn listed(listing: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(listing).expect("the fixture is there");
    let tools: Vec<serde_json::Value> = serde_json::from_str(&text).expect("the fixture is JSON");
    tools
        .iter()
        .map(|tool| {
            let raw = RawTool::parse(tool.to_string().into_bytes().into()).expect("a tool");
            let digest = descriptor_digest(&raw).expect("a descriptor");
            (raw.name().to_owned(), digest.to_string())
        })
        .collect()
}

fn capability(tool: &str, descriptor: &str) -> Option<String> {
    let (mode, when) = match tool {
        "read" | "northern" => ("read_only", false),
        "append" | "slow" | "scarce" => ("local_write", false),
        "crash" | "kill" => ("local_write", true),
        "erase" => ("destructive", false),
        _ => return None,
    };
    let (property, required) = if when {
        (", \"when\": { \"type\": \"string\" }", ", \"when\"")
    } else {
        ("", "")
    };
    let repeated = match mode {
        // Most tests call without a key; those that are about keys give one.
        "local_write" => "not_needed",
        _ => "optional",
    };
    let mut out = format!(
        "id = \"effects.{tool}\"\nadapter = \"effects\"\ntool = \"{tool}\"\nmode = \"{mode}\"\n\
         description = \"The tool {tool} of the tests.\"\ndescriptor = \"{descriptor}\"\n\
         input_schema = '''{{ \"type\": \"object\", \"properties\": {{ \"line\": {{ \"type\": \"string\" }}{property} }}, \
         \"required\": [\"line\"{required}], \"additionalProperties\": false }}'''\n\
         classification = \"INTERNAL\"\nretention = \"90d\"\nresidency = \"eu\"\nidempotency_key = \"{repeated}\"\n\
         destinations = [\"file:effects\"]\n"
    );
    if tool == "erase" {
        out.push_str("approvers = \"officers\"\n");
    }
    if tool == "scarce" {
        let _infallible = write!(
            out,
            "\n[num_calls]\ncalls = {SCARCE_CALLS}\nseconds = 3600\n"
        );
    }
    out.push_str("\n[arguments.line]\nmax_length = 200000\nalphabet = \"ascii_printable\"\n");
    if when {
        out.push_str("\n[arguments.when]\none_of = [\"before\", \"after\"]\n");
    }
    Some(out)
}
