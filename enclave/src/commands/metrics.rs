//! `countersign metrics`: how the controls worked, computed from an export that is verified and replayed first.

use crate::clock::Clock;
use crate::measures::Seen;
use anyhow::{Context as _, bail};
use clap::Args;
use countersign_record::digest::UnixMillis;
use countersign_record::entry::Entry;
use countersign_record::export::{Framer, ItemKind};
use countersign_replay::{Options, Status, replay};
use countersign_verify::text::neutralize;
use countersign_verify::trust::Trust;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

/// A trust file that names nobody: the export is checked against itself.
const NOBODY: &[u8] = b"version = 1\n";

/// How much of a file is read at a time (1 MiB).
const CHUNK: usize = 1024 * 1024;

/// Compute metrics of the controls from an export. It is verified and replayed first; an altered one gives none.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// The export.
    export: PathBuf,
    /// Whom and what you trust; without it nobody says whose the export is.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Print the result as JSON ("metrics": 1).
    #[arg(long)]
    json: bool,
}

impl Metrics {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let named = self.export.display().to_string();
        let trust = match &self.trust {
            Some(path) => fs::read(path).with_context(|| path.display().to_string())?,
            None => NOBODY.to_vec(),
        };
        let trust = Trust::parse(&trust)?;
        let options = Options {
            trust_path: self
                .trust
                .as_deref()
                .map(|p| p.display().to_string())
                .unwrap_or_default(),
            call: None,
            against: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let mut file = File::open(&self.export).with_context(|| named.clone())?;
        let now: UnixMillis = Clock::start().now().at;
        let replayed =
            replay(&mut file, &trust, &options, now, &mut |_| ()).with_context(|| named.clone())?;
        if replayed.status == Status::TamperDetected {
            bail!(
                "nothing is computed on this export: {}",
                neutralize(&replayed.verification.headline)
            );
        }
        let seen = seen(&mut file).with_context(|| named)?;
        let measures = seen.measures(replayed.verification.headline, &replayed.counts);
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&measures)?)
        } else {
            neutralize_lines(&measures.to_text())
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(())
    }
}

/// Names in a log are somebody else's text.
fn neutralize_lines(text: &str) -> String {
    text.lines()
        .map(|line| neutralize(line).to_string() + "\n")
        .collect()
}

fn seen(file: &mut File) -> anyhow::Result<Seen> {
    file.seek(SeekFrom::Start(0))?;
    let mut framer = Framer::new();
    let mut seen = Seen::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = file.read(&mut chunk)?;
        let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else {
            break;
        };
        framer.push(read);
        while let Some(frame) = framer.next_frame()? {
            if frame.kind == ItemKind::Entry {
                seen.take(&Entry::parse(&frame.content)?);
            }
        }
    }
    framer.finish()?;
    Ok(seen)
}
