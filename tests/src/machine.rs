//! What an operator has: a site, a state directory, a software TPM; and the gateway on it.

use crate::auditor::Auditor;
use crate::client::{Client, Credential};
use crate::process::{Process, outcome, run};
use crate::site::{BETA_KEY, OFFICER_KEY, Site, SiteOptions};
use crate::{PATIENCE, program};
use countersign_platform::TpmAddress;
use countersign_platform::swtpm::Swtpm;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use tempfile::TempDir;

/// A machine with a gateway on it.
pub struct Machine {
    directory: TempDir,
    site: Site,
    port: u16,
    tpm: Option<Swtpm>,
    /// Settings that were in force before.
    earlier: Vec<Vec<u8>>,
}

/// A copy of a directory, to be put back later.
pub struct Snapshot {
    of: PathBuf,
    kept: TempDir,
}

impl Snapshot {
    /// A copy that was taken by other means: what stands in `copied` once stood in `of`.
    ///
    /// # Panics
    /// If a file cannot be copied.
    #[must_use]
    pub fn kept_at(of: &Path, copied: &Path) -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        copy(copied, kept.path());
        Self {
            of: of.to_owned(),
            kept,
        }
    }

    /// Where the copy is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.kept.path()
    }

    /// Puts the directory back as it was.
    ///
    /// # Panics
    /// If a file cannot be copied.
    pub fn restore(&self) {
        if self.of.exists() {
            fs::remove_dir_all(&self.of).expect("a directory can be removed");
        }
        copy(self.kept.path(), &self.of);
    }
}

impl Machine {
    /// A machine that has not booted yet: signed release and bundle, no identity.
    #[must_use]
    pub fn new(options: &SiteOptions) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("countersign-")
            .tempdir()
            .expect("a temporary directory");
        let tpm = Swtpm::start(&directory.path().join("tpm")).unwrap_or_else(|e| panic!("{e}"));
        let port = port(&tpm);
        let tools = directory.path().join("tools");
        fs::create_dir(&tools).expect("a directory can be made");
        let address = format!("swtpm:127.0.0.1:{port}");
        let site = Site::make(&directory.path().join("site"), &tools, &address, options);
        let this = Self {
            directory,
            site,
            port,
            tpm: Some(tpm),
            earlier: Vec::new(),
        };
        this.sign_release();
        this.site.build();
        this
    }

    /// A machine without a TPM that has not booted yet. What reports there is a [`crate::chip::Chip`].
    #[must_use]
    pub fn without_tpm(options: &SiteOptions) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("countersign-")
            .tempdir()
            .expect("a temporary directory");
        let tools = directory.path().join("tools");
        fs::create_dir(&tools).expect("a directory can be made");
        let path = directory.path().join("site");
        let site = Site::make(&path, &tools, "device:/dev/tpmrm0", options);
        site.build();
        Self {
            directory,
            site,
            port: 0,
            tpm: None,
            earlier: Vec::new(),
        }
    }

    /// A machine whose gateway is enrolled.
    #[must_use]
    pub fn enrolled() -> Self {
        Self::enrolled_with(&SiteOptions::default())
    }

    /// A machine whose gateway is enrolled, with options.
    #[must_use]
    pub fn enrolled_with(options: &SiteOptions) -> Self {
        let this = Self::new(options);
        this.enrol(1);
        this
    }

    /// Another machine with copies of this one's site and state, and a TPM of its own.
    #[must_use]
    pub fn twin(&self) -> Self {
        let twin = self.replacement();
        if self.state().exists() {
            copy(&self.state(), &twin.state());
        }
        twin
    }

    /// Another machine with a copy of this one's site, and a TPM of its own; it has not booted yet.
    ///
    /// # Panics
    /// If a file cannot be copied.
    #[must_use]
    pub fn replacement(&self) -> Self {
        self.with_own_tpm(&format!("swtpm:127.0.0.1:{}", self.port))
    }

    /// A machine with a copy of this one's site, which names another TPM in the place of `before`.
    fn with_own_tpm(&self, before: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("countersign-")
            .tempdir()
            .expect("a temporary directory");
        let tpm = Swtpm::start(&directory.path().join("tpm")).unwrap_or_else(|e| panic!("{e}"));
        let port = port(&tpm);
        let path = directory.path().join("site");
        copy(self.site.path(), &path);
        let site = Site::at(&path);
        site.edit(before, &format!("swtpm:127.0.0.1:{port}"));
        Self {
            directory,
            site,
            port,
            tpm: Some(tpm),
            earlier: Vec::new(),
        }
    }

    /// Another machine with a copy of the site of this one, which has no TPM, and a TPM of its own.
    ///
    /// # Panics
    /// If a file cannot be copied.
    #[must_use]
    pub fn successor_with_tpm(&self) -> Self {
        let this = self.with_own_tpm("device:/dev/tpmrm0");
        this.sign_release();
        this
    }

    /// The site.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Where all of the machine's directories are, for a test's own files.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The TPM's state directory.
    #[must_use]
    pub fn tpm_state(&self) -> PathBuf {
        self.path().join("tpm")
    }

    /// Where the tool server works.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.path().join("tools")
    }

    /// Lines that the tools wrote, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<String> {
        let text = fs::read_to_string(self.tools().join("effects.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The TPM's address.
    #[must_use]
    pub fn tpm_address(&self) -> TpmAddress {
        TpmAddress::Tcp {
            host: "127.0.0.1".to_owned(),
            port: self.port,
        }
    }

    /// Ends the TPM without warning: a power cut.
    pub fn stop_tpm(&mut self) {
        self.tpm = None;
    }

    /// Starts the TPM on the same state: the same TPM after a reset.
    ///
    /// On the same port, unless the system still keeps that for a connection that broke; then on another,
    /// which changes the settings.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_tpm(&mut self) {
        self.tpm = None;
        let started = Swtpm::start_at(&self.tpm_state(), self.port)
            .or_else(|_| Swtpm::start(&self.tpm_state()));
        let tpm = started.unwrap_or_else(|e| panic!("{e}"));
        let (before, now) = (self.port, port(&tpm));
        if before != now {
            let settings = fs::read(self.site.settings()).expect("settings are there");
            self.earlier.push(settings);
            let address = |port| format!("swtpm:127.0.0.1:{port}");
            self.site.edit(&address(before), &address(now));
        }
        (self.port, self.tpm) = (now, Some(tpm));
    }

    /// Settings that were in force before.
    #[must_use]
    pub fn earlier_settings(&self) -> &[Vec<u8>] {
        &self.earlier
    }

    /// A copy of the state directory.
    #[must_use]
    pub fn snapshot_state(&self) -> Snapshot {
        Self::snapshot(&self.state())
    }

    /// A copy of the TPM's state. To put it back: stop the TPM, restore, start the TPM.
    #[must_use]
    pub fn snapshot_tpm(&self) -> Snapshot {
        Self::snapshot(&self.tpm_state())
    }

    fn snapshot(of: &Path) -> Snapshot {
        let kept = tempfile::tempdir().expect("a temporary directory");
        copy(of, kept.path());
        Snapshot {
            of: of.to_owned(),
            kept,
        }
    }

    /// A `countersign` command.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut out = Command::new(program("countersign"));
        out.args(arguments);
        out
    }

    /// The vendor approves what this machine boots to.
    pub fn sign_release(&self) {
        let mut sign = self.command(&["release", "sign"]);
        sign.arg("--site").arg(self.site.path());
        run(sign.arg("--key").arg(self.site.key_file("release.key")));
    }

    /// The governance key lists the gateway in fleet statement `number`.
    pub fn enrol(&self, number: u64) {
        let (request, fleet) = (
            self.path().join("request.cbor"),
            self.path().join("fleet.cose"),
        );
        let mut ask = self.command(&["enrol", "request"]);
        ask.arg("--site").arg(self.site.path());
        run(ask
            .arg("--state")
            .arg(self.state())
            .arg("--out")
            .arg(&request));
        let mut sign = self.command(&["enrol", "sign", "--fleet", "tests"]);
        sign.args(["--number", &number.to_string()]);
        sign.arg("--request").arg(&request);
        sign.arg("--key").arg(self.site.key_file("governance.key"));
        run(sign.arg("--out").arg(&fleet));
        let mut install = self.command(&["enrol", "install"]);
        run(install.arg("--state").arg(self.state()).arg(&fleet));
    }

    /// The governance key of `people`'s site lists this gateway in fleet statement `number`, beside those of an earlier one.
    pub fn list_in_fleet(
        &self,
        people: &Self,
        name: &str,
        number: u64,
        previous: Option<&Path>,
        out: &Path,
    ) {
        let request = self.path().join("request.cbor");
        let mut ask = self.command(&["enrol", "request"]);
        ask.arg("--site").arg(self.site.path());
        ask.arg("--state").arg(self.state());
        run(ask.arg("--out").arg(&request));
        let mut sign = self.command(&["enrol", "sign", "--fleet", "tests"]);
        sign.args(["--name", name, "--number", &number.to_string()]);
        sign.arg("--request").arg(&request);
        sign.arg("--key")
            .arg(people.site.key_file("governance.key"));
        if let Some(previous) = previous {
            sign.arg("--previous").arg(previous);
        }
        run(sign.arg("--out").arg(out));
    }

    /// The operator puts a fleet statement in place.
    pub fn install_statement(&self, statement: &Path) {
        let mut install = self.command(&["enrol", "install"]);
        run(install.arg("--state").arg(self.state()).arg(statement));
    }

    /// The machine is gone: its TPM, and all that it knew.
    ///
    /// # Panics
    /// If a directory cannot be removed.
    pub fn destroy(&mut self) {
        self.stop_tpm();
        for directory in [self.state(), self.tpm_state()] {
            fs::remove_dir_all(directory).expect("a directory can be removed");
        }
    }

    /// The governance key lets a held gateway go on.
    pub fn recover(&self, reason: &str) {
        let out = self.path().join("recover.cose");
        let mut sign = self.command(&["recover", "sign", "--reason", reason]);
        sign.arg("--request")
            .arg(self.state().join("recover-request.cbor"));
        sign.arg("--key").arg(self.site.key_file("governance.key"));
        run(sign.arg("--out").arg(&out));
        let mut install = self.command(&["recover", "install"]);
        run(install.arg("--state").arg(self.state()).arg(&out));
    }

    /// The command that serves, for a test that changes its surroundings.
    #[must_use]
    pub fn serve_command(&self) -> Command {
        let mut serve = self.command(&["serve"]);
        serve.arg("--site").arg(self.site.path());
        serve.arg("--state").arg(self.state());
        serve
    }

    /// The command that serves, run by another program, such as `prlimit --fsize=…`.
    #[must_use]
    pub fn serve_under(&self, wrapper: &[&str]) -> Command {
        let inner = self.serve_command();
        let mut out = Command::new(wrapper[0]);
        out.args(&wrapper[1..]);
        out.arg(inner.get_program()).args(inner.get_args());
        out
    }

    /// Boots the gateway and waits until it takes calls.
    ///
    /// # Panics
    /// If it does not, or is held.
    #[must_use]
    pub fn start(&self) -> Gateway {
        let gateway = self.boot();
        assert_eq!(gateway.word, "ready", "{}", gateway.process.said());
        gateway
    }

    /// Boots the gateway and waits until it says what it is: `ready` or `held`.
    ///
    /// # Panics
    /// If it says nothing.
    #[must_use]
    pub fn boot(&self) -> Gateway {
        self.boot_with(&mut self.serve_command())
            .unwrap_or_else(|(status, said)| panic!("the gateway ended with {status}:\n{said}"))
    }

    /// Boots the gateway by a command of the test's; what it said if it ended instead.
    ///
    /// # Errors
    /// Exit status and all output.
    pub fn boot_with(&self, command: &mut Command) -> Result<Gateway, (ExitStatus, String)> {
        self.booting(Process::start(command))
    }

    /// The same, on this chip and without a TPM.
    ///
    /// # Errors
    /// Exit status and all output.
    pub fn boot_on(
        &self,
        chip: &crate::chip::Chip,
        command: &Command,
    ) -> Result<Gateway, (ExitStatus, String)> {
        let (mut command, stdin) = chip.under(command, &self.path().join("dev"));
        self.booting(Process::start_with(&mut command, stdin))
    }

    fn booting(&self, mut process: Process) -> Result<Gateway, (ExitStatus, String)> {
        while let Some(line) = process.line() {
            let words: Vec<&str> = line.split(' ').collect();
            if let [word @ ("ready" | "held"), url, "gateway", id] = words.as_slice() {
                return Ok(Gateway {
                    word: (*word).to_owned(),
                    url: (*url).to_owned(),
                    id: (*id).to_owned(),
                    process,
                    site: self.site.clone(),
                    out: self.path().to_owned(),
                });
            }
        }
        let status = process.end();
        Err((status, process.said()))
    }

    /// Replays an export by the auditor's rules: everything has to come out the same.
    ///
    /// # Panics
    /// If anything does not.
    #[track_caller]
    pub fn expect_replay(&self, export: &Path) {
        let (trust, _) = self.auditor().files();
        let mut replay = self.command(&["replay"]);
        replay.arg(export).arg("--trust").arg(trust);
        let (status, out, err) = outcome(&mut replay);
        assert_eq!(status.code(), Some(0), "{out}{err}");
        assert!(out.starts_with("match: all"), "{out}");
    }

    /// An auditor who trusts this machine's governance and bundle keys, and software TPMs.
    #[must_use]
    pub fn auditor(&self) -> Auditor {
        Auditor::new(self)
    }
}

/// A running gateway.
pub struct Gateway {
    /// `ready` or `held`.
    pub word: String,
    /// Its address, `http://…` or `https://…`.
    pub url: String,
    /// Its id, hexadecimal.
    pub id: String,
    /// Its process.
    pub process: Process,
    site: Site,
    out: PathBuf,
}

impl Gateway {
    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.url
            .split_once("://")
            .map_or(&self.url, |(_, rest)| rest)
    }

    /// A client that shows nothing.
    #[must_use]
    pub fn stranger(&self) -> Client {
        Client::new(self.authority(), Credential::None)
    }

    /// The agent of the north, with its token.
    #[must_use]
    pub fn alpha(&self) -> Client {
        Client::new(self.authority(), Credential::Token(self.site.token()))
    }

    /// The agent of the south, with its key.
    #[must_use]
    pub fn beta(&self) -> Client {
        Client::new(
            self.authority(),
            Credential::Key(self.site.signing_key(BETA_KEY)),
        )
    }

    /// The person, with their key.
    #[must_use]
    pub fn officer(&self) -> Client {
        self.client_with(OFFICER_KEY)
    }

    /// Whoever has this key file of the site.
    #[must_use]
    pub fn client_with(&self, key: &str) -> Client {
        Client::new(
            self.authority(),
            Credential::Key(self.site.signing_key(key)),
        )
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop()
    }

    /// The identity key, hexadecimal, as the gateway's evidence says.
    ///
    /// # Panics
    /// If it gives no evidence.
    #[must_use]
    pub fn identity(&self) -> String {
        let path = format!("/attestation?nonce={}", "ab".repeat(32));
        let answer = self.stranger().get(&path).expect("an answer").json();
        answer["identity_key"].as_str().expect("a key").to_owned()
    }

    /// Waits until a call would be taken.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`].
    pub fn wait_ready(&self) {
        let end = std::time::Instant::now() + PATIENCE;
        let mut stranger = self.stranger();
        loop {
            let answer = stranger.get("/readyz").expect("an answer");
            if answer.status == 200 {
                return;
            }
            let late = std::time::Instant::now() >= end;
            assert!(!late, "it is {}:\n{}", answer.json(), self.process.said());
            // Nothing tells when a witness has answered; this is not a step of a test.
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits until every timestamping authority of the settings has stamped a checkpoint of this epoch; the fewest
    /// entries that one has seen.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`].
    #[must_use]
    pub fn wait_stamped(&self) -> u64 {
        let end = std::time::Instant::now() + PATIENCE;
        let mut stranger = self.stranger();
        loop {
            let health = stranger.get("/healthz").expect("an answer").json();
            let authorities = health["timestamping"].as_array().expect("a list");
            let sizes: Option<Vec<u64>> =
                authorities.iter().map(|a| a["stamped"].as_u64()).collect();
            if let Some(size) = sizes.and_then(|s| s.into_iter().min()) {
                return size;
            }
            let late = std::time::Instant::now() >= end;
            assert!(!late, "{health}\n{}", self.process.said());
            // Nothing tells when an authority has answered; this is not a step of a test.
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Fetches an export with the real command.
    #[must_use]
    pub fn export(&self) -> PathBuf {
        let (path, result) = self.try_export();
        if let Err(said) = result {
            panic!("no export: {said}\n{}", self.process.said());
        }
        path
    }

    /// Fetches a part of the log with the real command: `--tenant`, `--run`, `--from`, `--until`.
    #[must_use]
    pub fn export_of(&self, limits: &[&str]) -> PathBuf {
        let (path, result) = self.try_export_of(limits);
        if let Err(said) = result {
            panic!("no export: {said}\n{}", self.process.said());
        }
        path
    }

    /// Fetches an export with the real command, whatever comes of it.
    ///
    /// # Errors
    /// What the command said.
    pub fn try_export(&self) -> (PathBuf, Result<(), String>) {
        self.try_export_of(&[])
    }

    /// Fetches a part of the log with the real command, whatever comes of it.
    ///
    /// # Errors
    /// What the command said.
    pub fn try_export_of(&self, limits: &[&str]) -> (PathBuf, Result<(), String>) {
        self.try_export_as(OFFICER_KEY, limits)
    }

    /// The same, with another key file of the site.
    ///
    /// # Errors
    /// What the command said.
    pub fn try_export_as(&self, key: &str, limits: &[&str]) -> (PathBuf, Result<(), String>) {
        let (path, mut export) = self.export_command_as(key);
        let (status, out, err) = outcome(export.args(limits));
        let result = if status.success() {
            Ok(())
        } else {
            Err(out + &err)
        };
        (path, result)
    }

    /// The command that fetches an export, for a test that changes its surroundings, and where it puts it.
    #[must_use]
    pub fn export_command(&self) -> (PathBuf, Command) {
        self.export_command_as(OFFICER_KEY)
    }

    fn export_command_as(&self, key: &str) -> (PathBuf, Command) {
        let path = self
            .out
            .join(crate::unique("export"))
            .with_extension("cbor");
        let mut export = Command::new(program("countersign"));
        export.args(["export", "--url", &self.url, "--key"]);
        export.arg(self.site.key_file(key));
        export.arg("--out").arg(&path);
        (path, export)
    }

    /// `countersign erase …` or `countersign hold …`, with a key file of the site.
    #[must_use]
    pub fn ordering(&self, key: &str, what: &[&str]) -> Command {
        let mut order = Command::new(program("countersign"));
        order.args(what).args(["--url", &self.url, "--key"]);
        order.arg(self.site.key_file(key));
        order
    }

    /// Runs `countersign erase …` or `countersign hold …` as the officer.
    ///
    /// # Errors
    /// What the command said.
    pub fn order(&self, what: &[&str]) -> Result<String, String> {
        self.order_as(OFFICER_KEY, what)
    }

    /// The same, with another key file of the site.
    ///
    /// # Errors
    /// What the command said.
    pub fn order_as(&self, key: &str, what: &[&str]) -> Result<String, String> {
        let (status, out, err) = outcome(&mut self.ordering(key, what));
        if status.success() {
            Ok(out)
        } else {
            Err(out + &err)
        }
    }

    /// Runs `countersign approve <what> …` as the officer; its output.
    #[must_use]
    pub fn approve(&self, what: &[&str]) -> String {
        let mut approve = Command::new(program("countersign"));
        approve.arg("approve").args(what);
        approve.args(["--url", &self.url, "--key"]);
        run(approve.arg(self.site.key_file(OFFICER_KEY)))
    }
}

fn port(tpm: &Swtpm) -> u16 {
    match tpm.address() {
        TpmAddress::Tcp { port, .. } => port,
        TpmAddress::Device(_) => panic!("a software TPM has a port"),
    }
}

/// Copies a directory with all that is in it.
///
/// # Panics
/// If a file cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    let mode = fs::metadata(from)
        .expect("a directory is there")
        .permissions();
    fs::set_permissions(to, mode).expect("permissions can be set");
    for entry in fs::read_dir(from).expect("a directory can be read") {
        let entry = entry.expect("a directory can be read");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a file has a type");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), &target).expect("a file can be copied");
        }
    }
}
