//! A witness: the real program, and what an auditor gets from it.

use crate::process::{Process, run};
use crate::{program, unique};
use countersign_record::digest::sha256;
use countersign_record::note::NoteKey;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A witness with a directory of its own.
pub struct Witness {
    directory: TempDir,
    key: NoteKey,
    process: Option<Process>,
    authority: String,
}

impl Witness {
    /// A witness of this name that runs and knows no log yet.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut init = Command::new(program("countersign-witness"));
        init.args(["init", "--name", name, "--listen", "127.0.0.1:0", "--dir"]);
        let key = run(init.arg(directory.path()));
        let mut this = Self {
            directory,
            key: NoteKey::parse(key.trim()).expect("init prints the witness's key"),
            process: None,
            authority: String::new(),
        };
        this.restart();
        // The same port from now on, so that settings stay true.
        let port = this
            .authority
            .rsplit(':')
            .next()
            .expect("a port")
            .to_owned();
        let file = this.directory.path().join("witness.toml");
        let text = fs::read_to_string(&file).expect("init made it");
        let text = text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        fs::write(&file, text).expect("a file can be written");
        this
    }

    /// Tells it of a gateway's log, by the gateway's identity key, and starts it anew.
    pub fn know(&mut self, identity: &str) {
        let mut add = Command::new(program("countersign-witness"));
        add.args(["add-log", "--identity", identity, "--dir"]);
        run(add.arg(self.directory.path()));
        self.restart();
    }

    /// Stops it, if it runs.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it on what it kept.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let mut serve = Command::new(program("countersign-witness"));
        serve.args(["serve", "--dir"]).arg(self.directory.path());
        let process = Process::start(&mut serve);
        let line = process
            .line()
            .unwrap_or_else(|| panic!("the witness ended:\n{}", process.said()));
        self.authority = line
            .strip_prefix("ready http://")
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_else(|| panic!("{line}"))
            .to_owned();
        self.process = Some(process);
    }

    /// The lines of a site's settings that name it.
    #[must_use]
    pub fn settings(&self, organisation: &str, own: bool) -> String {
        format!(
            "[[witnesses]]\nurl = \"http://{}\"\nkey = \"{}\"\norganisation = \"{organisation}\"\nown = {own}\n",
            self.authority, self.key
        )
    }

    /// The lines of a trust file that name it.
    #[must_use]
    pub fn trusted(&self, organisation: &str, own: bool) -> String {
        format!(
            "[[witnesses]]\nkey = \"{}\"\norganisation = \"{organisation}\"\nown = {own}\n",
            self.key
        )
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// The last checkpoint of a gateway's log that it cosigned, as a file of the auditor's.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn checkpoint(&self, gateway: &str, directory: &Path) -> PathBuf {
        let note = self
            .last(gateway)
            .unwrap_or_else(|| panic!("{} has cosigned nothing of {gateway}", self.name()));
        let path = directory.join(unique("checkpoint")).with_extension("note");
        fs::write(&path, note).expect("a file can be written");
        path
    }

    /// The last checkpoint of a gateway's log that it cosigned, if there is one.
    #[must_use]
    pub fn last(&self, gateway: &str) -> Option<String> {
        let origin = format!("countersign/{gateway}");
        let path = format!("/{}/checkpoint", hex::encode(sha256(origin.as_bytes())));
        let mut stream = TcpStream::connect(&self.authority).expect("the witness is there");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: witness\r\nconnection: close\r\n\r\n"
        )
        .expect("a request can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer comes");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// Size of the last checkpoint of a gateway's log that it cosigned; 0 if there is none.
    #[must_use]
    pub fn size(&self, gateway: &str) -> u64 {
        self.last(gateway)
            .and_then(|note| note.lines().nth(1)?.parse().ok())
            .unwrap_or(0)
    }

    /// What it prints about its logs.
    #[must_use]
    pub fn list(&self) -> String {
        let mut list = Command::new(program("countersign-witness"));
        run(list.args(["list", "--dir"]).arg(self.directory.path()))
    }
}
