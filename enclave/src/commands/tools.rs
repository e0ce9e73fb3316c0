//! `countersign tools list`, `tools diff` and `tools pin`: tools that are not what they were when they were registered.
//!
//! In: what a gateway says of its tools, and both texts of one. Out: what changed, member by member, in characters that
//! do nothing to a screen; and into a site directory, the text that a person has seen. It releases nothing by itself:
//! the site has to be built and signed, as ever.
//!
//! Both digests are computed here. What the gateway says of them is not believed.

use super::SiteArgument;
use super::client::{Ask, Reach, ask, block_on};
use crate::keys::read_signing_key;
use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use clap::{Args, Subcommand};
use countersign_json::descriptor::{MAX_DESCRIPTOR_BYTES, RawTool, covered, descriptor_digest};
use countersign_json::differences::{Difference, differences, everything};
use countersign_policies::site::read;
use countersign_record::digest::ArtifactDigest;
use countersign_record::preview::visible;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest answer that is read, in bytes: two descriptors, each of whose bytes may be escaped with six.
const MAX_ANSWER_BYTES: usize = 16 * MAX_DESCRIPTOR_BYTES;

/// Most characters of a value that are shown, from shortly before where it differs.
const SHOWN_CHARACTERS: usize = 400;

/// Characters that are shown before the first that differs.
const CONTEXT_CHARACTERS: usize = 40;

/// Most places that are shown.
const SHOWN_PLACES: usize = 200;

/// See which tools changed, and pin what you have seen.
#[derive(Debug, Subcommand)]
pub(crate) enum Tools {
    /// Say of each tool whether it is still the one that was registered.
    List(List),
    /// Show what a tool says of itself beside what it said when it was pinned.
    Diff(Diff),
    /// Write what a tool says now into a site directory, if it is what you have seen. It counts once the bundle is signed.
    Pin(Pin),
}

#[derive(Debug, Args)]
struct Person {
    #[command(flatten)]
    gateway: Reach,
    /// Key of a person of group `operator`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    person: Person,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    person: Person,
    /// Which tool, as `<adapter>.<tool>`.
    capability: String,
}

#[derive(Debug, Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    person: Person,
    /// Which tool, as `<adapter>.<tool>`.
    capability: String,
    /// Digest of the descriptor that you have seen, as `tools diff` prints it.
    #[arg(long, value_name = "DIGEST")]
    seen: String,
    #[command(flatten)]
    site: SiteArgument,
}

/// What a gateway answers.
#[derive(Debug, Deserialize)]
struct Known {
    bundle: InForce,
    tools: Vec<Tool>,
}

#[derive(Debug, Deserialize)]
struct InForce {
    name: String,
    version: u64,
}

#[derive(Debug, Deserialize)]
struct Tool {
    capability: String,
    state: String,
    pinned: String,
    listed: Option<String>,
    pinned_text: Option<String>,
    listed_text: Option<String>,
}

impl Tools {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Diff(diff) => diff.run(),
            Self::Pin(pin) => pin.run(),
        }
    }
}

impl Person {
    fn ask(&self, query: Option<&str>) -> anyhow::Result<Known> {
        let key = read_signing_key(&self.key)?;
        let what = Ask {
            method: "GET",
            path: "/v1/tools",
            query,
            body: Vec::new(),
            key: Some(&key),
        };
        block_on(async {
            let body = ask(&self.gateway, what).await?.into_body();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|_| {
                anyhow!("the answer breaks off, or is over {MAX_ANSWER_BYTES} bytes")
            })?;
            serde_json::from_slice(&body.to_bytes()).context("the gateway's answer is not its own")
        })
    }

    fn of(&self, capability: &str) -> anyhow::Result<(InForce, Tool)> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
        ensure!(
            capability.bytes().all(plain),
            "{} is no capability's id",
            visible(capability)
        );
        let known = self.ask(Some(&format!("capability={capability}")))?;
        let mut tools = known.tools.into_iter();
        match (tools.next(), tools.next()) {
            (Some(tool), None) if tool.capability == capability => Ok((known.bundle, tool)),
            (Some(_) | None, _) => bail!("the gateway answers for another tool"),
        }
    }
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let known = self.person.ask(None)?;
        let mut held = 0u64;
        for tool in &known.tools {
            held = held.saturating_add(u64::from(tool.state != "served"));
            println!("{:<12}{}", visible(&tool.state), visible(&tool.capability));
        }
        let all = known.tools.len();
        println!("{all} tools, {held} of them not served");
        Ok(())
    }
}

impl Diff {
    fn run(&self) -> anyhow::Result<()> {
        let (bundle, tool) = self.person.of(&self.capability)?;
        print!("{}", shown(&bundle, &tool)?);
        Ok(())
    }
}

/// A text as a descriptor with its digest.
fn raw(text: &str) -> anyhow::Result<(RawTool, ArtifactDigest)> {
    let raw = RawTool::parse(Bytes::copy_from_slice(text.as_bytes()))?;
    let digest = descriptor_digest(&raw)?;
    Ok((raw, digest))
}

/// What changed, in words.
fn shown(bundle: &InForce, tool: &Tool) -> anyhow::Result<String> {
    let mut out = format!(
        "{} is {}\npinned  {}  by bundle {} version {}\n",
        visible(&tool.capability),
        visible(&tool.state),
        visible(&tool.pinned),
        visible(&bundle.name),
        bundle.version,
    );
    let Some(listed) = &tool.listed_text else {
        writeln!(out, "listed  nothing")?;
        return Ok(out);
    };
    let (listed, now) = raw(listed).context("what is listed")?;
    writeln!(out, "listed  {now}")?;
    ensure!(
        tool.listed.as_deref() == Some(now.to_string().as_str()),
        "the gateway says another digest of the text that it gives"
    );
    let places = match &tool.pinned_text {
        Some(text) => {
            let (pinned, digest) = raw(text).context("what was pinned")?;
            ensure!(
                digest.to_string() == tool.pinned,
                "the text that the gateway gives as pinned has digest {digest}"
            );
            differences(&pinned, &listed)?
        }
        None if now.to_string() == tool.pinned => Vec::new(),
        None => {
            writeln!(
                out,
                "The bundle pins a digest alone, so what the tool said before is not known here. This is all that it says now:"
            )?;
            everything(&listed)?
        }
    };
    for place in places.iter().take(SHOWN_PLACES) {
        out.push_str(&difference(place));
    }
    if let Some(more @ 1..) = places.len().checked_sub(SHOWN_PLACES) {
        writeln!(out, "and {more} more places")?;
    }
    if now.to_string() == tool.pinned {
        writeln!(out, "It is the tool that was registered.")?;
    } else {
        writeln!(
            out,
            "It is held. If it is as wanted: countersign tools pin {} --seen {now} --site DIR, with --url and --key, and sign a bundle.",
            visible(&tool.capability),
        )?;
    }
    Ok(out)
}

/// One place, its old value and its new one.
fn difference(of: &Difference) -> String {
    let place: Vec<String> = of.place.iter().map(|name| visible(name)).collect();
    let (pinned, listed) = (of.pinned.as_deref(), of.listed.as_deref());
    // Values can be long; what is the same in the beginning says little.
    let same = match (pinned, listed) {
        (Some(a), Some(b)) => a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count(),
        (Some(_) | None, _) => 0,
    };
    let skipped = same.saturating_sub(CONTEXT_CHARACTERS);
    let line = |sign: char, value: Option<&str>| match value {
        None => String::new(),
        Some(value) => format!("  {sign} {}\n", bounded(value, skipped)),
    };
    format!(
        "{}\n{}{}",
        bounded(&place.join("/"), 0),
        line('-', pinned),
        line('+', listed)
    )
}

/// A part of a text, in characters that are what they look like.
fn bounded(text: &str, skipped: usize) -> String {
    let part: String = text.chars().skip(skipped).take(SHOWN_CHARACTERS).collect();
    let rest = text
        .chars()
        .count()
        .saturating_sub(skipped.saturating_add(SHOWN_CHARACTERS));
    let before = match skipped {
        0 => String::new(),
        n => format!("[{n} characters as before]"),
    };
    let after = match rest {
        0 => String::new(),
        n => format!("[{n} more characters]"),
    };
    format!("{before}{}{after}", visible(&part))
}

impl Pin {
    fn run(&self) -> anyhow::Result<()> {
        let (_, tool) = self.person.of(&self.capability)?;
        let listed = tool.listed_text.as_deref();
        let listed = listed.context("the upstream does not list this tool now")?;
        let (listed, digest) = raw(listed)?;
        ensure!(
            digest.to_string() == self.seen,
            "the tool says something else again: {digest}. Look with `countersign tools diff`"
        );
        let site = &self.site.site;
        let file = capability_file(site, &self.capability)?;
        let text = fs::read_to_string(site.join(&file))?;
        let kept = format!("descriptors/{}.json", self.capability.replace('/', "-"));
        let text = pinned(&text, &kept, digest).with_context(|| file.clone())?;
        fs::create_dir_all(site.join("descriptors"))?;
        write(&site.join(&kept), &readable(&listed, digest)?)?;
        write(&site.join(&file), &text)?;
        println!("written {file}, {kept}");
        println!(
            "next    look at input_schema and the rules for arguments, raise bundle.version, and: countersign bundle build --site {}",
            site.display()
        );
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The file of a site that declares a capability.
fn capability_file(site: &Path, id: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let files = read(site)?;
    let mut found = files.0.iter().filter(|(path, text)| {
        let declared = toml::from_str::<Named>(text);
        path.starts_with("capabilities/") && declared.is_ok_and(|d| d.id == id)
    });
    let (path, _) = found
        .next()
        .with_context(|| format!("no file below capabilities/ has id = \"{id}\""))?;
    Ok(path.clone())
}

/// A capability's file with another descriptor pinned; every other line stays as it is.
fn pinned(text: &str, kept: &str, digest: ArtifactDigest) -> anyhow::Result<String> {
    let mut out = String::with_capacity(text.len());
    let (mut top, mut written) = (true, false);
    let lines = format!("descriptor = \"{digest}\"\ndescriptor_file = \"{kept}\"\n");
    for line in text.split_inclusive('\n') {
        top &= !line.trim_start().starts_with('[');
        let key = line.split('=').next().unwrap_or_default().trim();
        if !top || !matches!(key, "descriptor" | "descriptor_file") {
            out.push_str(line);
        } else if !written {
            out.push_str(&lines);
            written = true;
        }
    }
    let said = |text: &str| -> anyhow::Result<toml::Table> { Ok(toml::from_str(text)?) };
    // What came of the lines is compared as a whole: a text of several lines may look like a key.
    let (mut before, mut after) = (said(text)?, said(&out)?);
    for table in [&mut before, &mut after] {
        let digest = table.remove("descriptor");
        let file = table.remove("descriptor_file");
        ensure!(
            digest.is_some() || file.is_some(),
            "the file pins no descriptor; write the key into it by hand"
        );
    }
    ensure!(
        written && before == after,
        "the lines of `descriptor` cannot be told from others; change them by hand"
    );
    Ok(out)
}

/// A descriptor as a file that people review: indented, and without characters that are not what they look like.
pub(super) fn readable(tool: &RawTool, digest: ArtifactDigest) -> anyhow::Result<String> {
    let covered = covered(tool)?;
    let value: serde_json::Value = serde_json::from_slice(&covered)?;
    let escaped = |text: &str| {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '\n' | ' '..='~' => out.push(c),
                // Outside of strings strict JSON has no other character.
                other => {
                    for unit in other.encode_utf16(&mut [0; 2]) {
                        let _infallible = write!(out, "\\u{unit:04x}");
                    }
                }
            }
        }
        out + "\n"
    };
    let has_it = |text: &str| raw(text).is_ok_and(|(_, found)| found == digest);
    let indented = escaped(&serde_json::to_string_pretty(&value)?);
    if has_it(&indented) {
        return Ok(indented);
    }
    // A number whose text would change stays as it came.
    let plain = escaped(&String::from_utf8(covered)?);
    ensure!(has_it(&plain), "the descriptor cannot be written down");
    Ok(plain)
}

#[cfg(test)]
mod tests;
