//! An endpoint of OpenTelemetry's protocol, which decodes what comes with the protocol's own classes.
//!
//! In: what the gateway sends. Out: spans, metrics and log records, as JSON.

use crate::process::Process;
use crate::{fixture, python};
use serde_json::Value;
use std::process::Command;

/// A running endpoint.
pub struct Collector {
    process: Process,
    port: String,
}

impl Collector {
    /// One that takes what comes.
    #[must_use]
    pub fn start() -> Self {
        Self::run(&[])
    }

    /// One whose every answer has this status.
    #[must_use]
    pub fn refusing(status: &str) -> Self {
        Self::run(&[status])
    }

    /// One that takes what comes with this header `authorization`, and nothing else.
    #[must_use]
    pub fn wanting(authorization: &str) -> Self {
        Self::run(&[authorization])
    }

    fn run(arguments: &[&str]) -> Self {
        let mut command = Command::new(python());
        command.arg("-I").arg(fixture("collector.py"));
        let process = Process::start(command.args(arguments));
        let port = process.line().expect("it says its port");
        Self { process, port }
    }

    /// The section of the settings that names it.
    #[must_use]
    pub fn settings(&self) -> String {
        format!(
            "[telemetry]\nendpoint = \"http://127.0.0.1:{}\"\ninterval_seconds = 1\n",
            self.port
        )
    }

    /// The next thing that came.
    ///
    /// # Panics
    /// If nothing comes, or it cannot be decoded.
    #[must_use]
    pub fn next(&self) -> Value {
        let line = self.process.line().expect("it runs");
        let item: Value = serde_json::from_str(&line).expect("a line is JSON");
        assert_ne!(item["signal"], "broken", "{item}");
        item
    }

    /// All that came; nothing comes any more, because the gateway has stopped.
    ///
    /// # Panics
    /// If something could not be decoded.
    #[must_use]
    pub fn all(mut self) -> Vec<Value> {
        self.process.kill();
        let lines = std::iter::from_fn(|| self.process.line());
        let items: Vec<Value> = lines
            .map(|line| serde_json::from_str(&line).expect("a line is JSON"))
            .collect();
        assert!(
            items.iter().all(|i| i["signal"] != "broken"),
            "{}",
            self.process.said()
        );
        items
    }

    /// Everything that it wrote.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}
