//! `countersign-verify`: checks an export of Decision Records offline.
//!
//! The only place that reads files, arguments and the clock. Everything else is the library's.

mod bare_command;
mod meter;
mod output;

use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{UnixMillis, sha256};
use countersign_record::export::{Framer, Manifest};
use countersign_verify::fleet::{Asked, FleetReport, judge};
use countersign_verify::progress::Progress;
use countersign_verify::query::Query;
use countersign_verify::receipts::split as split_receipts;
use countersign_verify::report::{Report, Verdict};
use countersign_verify::selftest::{self, SelfTest};
use countersign_verify::text::{Detail, neutralize, render, render_fleet};
use countersign_verify::today::Today;
use countersign_verify::trust::{Reference, Trust};
use countersign_verify::{Depth, MAX_GIVEN, Options, time, verify};
use meter::{Meter, Show};
use output::Destination;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Exit code for a command that cannot be run as given.
const USAGE: u8 = 4;

/// Largest file that is read whole, in bytes (64 MiB): trust, reference values, receipts.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

const HELP: &str = "\
countersign-verify: checks an export of Decision Records, offline

usage: countersign-verify FILE... --trust TRUST.toml [options]
       countersign-verify evidence FILE... [options]
       countersign-verify self-test [--corpus DIR] [--json]

  FILE                 the export; - reads standard input. Several are judged one by
                       one, and then as a fleet: are they of all gateways, and is each
                       gateway's log one history?
  --trust FILE         whom and what you trust. Yours, not the exporter's
  --reference FILE     values you expect: program, configuration, boot registers;
                       replaces [reference] of the trust file
  --receipts FILE      receipts that callers kept, each of which must be in the export;
                       may be given several times. One file holds one or more receipts,
                       binary one after another, or one a line in base64
  --checkpoint FILE    a checkpoint that you have from a witness, or kept: the export must
                       contain it; may be given several times
  --fleet FILE         a signed fleet statement that you have: which gateways there are
  --from TIME, --until TIME
                       the time that a fleet's exports must cover
  --query K=V,...      count Decision Records, and say whether that is all of them; keys:
                       capability, verdict, code, mode, agent
  --today FILE         a revocation list, TCB information or identity of the quoting enclave
                       that you fetched from AMD or Intel (with its certificates): old evidence
                       is judged at its own time, and today by these. May be given several times
  --now TIME           take TIME as now: RFC 3339 (2026-03-04T05:06:07Z) or
                       milliseconds since 1970. Default: this machine's clock
  --threads N          threads that check signatures. Default: one for each processor
  --self-test          try this program on the corpus that it carries, before the export;
                       the report says how it did. No report if a case comes out otherwise
  --tree-only          only the tree and what the gateway says of itself: fast, and no
                       verdict. Calls are taken by their hashes; the exit code is never 0
  --out FILE           write the report to FILE, too, as JSON: whole or not at all.
                       There must be no such file yet
  --progress           show on standard error how far it is, even if that is no terminal
  --json               print the report as JSON (\"report\": 1)
  --quiet              print the verdict, the counts and what did not pass
  --help, --version

evidence: appraise a bare report, quote or event log; ask it for its own help

self-test: judge every case of the corpus, and compare with what its index says
  --corpus DIR         a corpus of your own. Default: the one in this program

exit codes of self-test: 0 all cases as expected, 1 not all, 4 usage
exit codes
  0  verified: every check that a verdict needs ran, and nothing failed
  1  altered or untrusted
  2  genuine, but against your policy
  3  cannot be evaluated: something needed is missing, or needs a newer verifier
  4  usage: the command or one of your own files cannot be read

Without a governance key or gateway of yours in the trust file, or without reference
values, the exit code is never 0. A smallest trust file:

  version = 1
  [governance]
  keys = [\"<64 hexadecimal digits>\"]
  [bundles]
  signers = [\"<64 hexadecimal digits>\"]

Evidence of software TPMs is refused unless the trust file says
  [evidence]
  accept = [\"software\"]
";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Arguments {
    exports: Vec<String>,
    fleet: Option<String>,
    from: Option<UnixMillis>,
    until: Option<UnixMillis>,
    query: Option<Query>,
    trust: Option<String>,
    reference: Option<String>,
    receipts: Vec<String>,
    checkpoints: Vec<String>,
    today: Vec<String>,
    now: Option<UnixMillis>,
    threads: Option<usize>,
    self_test: bool,
    depth: Depth,
    show: Show,
    out: Option<String>,
    output: Output,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Output {
    #[default]
    Text,
    Brief,
    Json,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned())
        .peekable();
    let first = arguments.peek().map(String::as_str);
    let outcome = match first {
        Some("--help" | "-h") => return print(HELP, 0),
        Some("--version" | "-V") => {
            return print(
                concat!("countersign-verify ", env!("CARGO_PKG_VERSION"), "\n"),
                0,
            );
        }
        Some("self-test") => self_test(arguments.skip(1)),
        Some("evidence") => bare_command::run(arguments.skip(1)),
        Some(_) | None => parse(arguments).and_then(|arguments| run(&arguments)),
    };
    match outcome {
        Ok(code) => code,
        Err(text) => {
            // Nothing is left to do if standard error is gone.
            let _ = writeln!(
                std::io::stderr(),
                "countersign-verify: {}\ntry: countersign-verify --help",
                neutralize(&text)
            );
            ExitCode::from(USAGE)
        }
    }
}

fn print(text: &str, code: u8) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        // A verdict that nobody could read is none; but a bad one stays bad.
        Err(_) if code == Verdict::Verified.exit_code() => {
            ExitCode::from(Verdict::CannotBeEvaluated.exit_code())
        }
        Err(_) => ExitCode::from(code),
    }
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut out = Arguments::default();
    while let Some(word) = given.next() {
        let (name, mut inline) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            Some(_) | None => (word, None),
        };
        let mut value = || {
            inline
                .take()
                .or_else(|| given.next())
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--trust" => once(&mut out.trust, value()?, "--trust")?,
            "--reference" => once(&mut out.reference, value()?, "--reference")?,
            "--receipts" => out.receipts.push(value()?),
            "--checkpoint" => out.checkpoints.push(value()?),
            "--today" => out.today.push(value()?),
            "--now" => once(&mut out.now, moment(&value()?, "--now")?, "--now")?,
            "--from" => once(&mut out.from, moment(&value()?, "--from")?, "--from")?,
            "--until" => once(&mut out.until, moment(&value()?, "--until")?, "--until")?,
            "--fleet" => once(&mut out.fleet, value()?, "--fleet")?,
            "--query" => {
                let query = Query::parse(&value()?).map_err(|e| format!("--query: {e}"))?;
                once(&mut out.query, query, "--query")?;
            }
            "--threads" => {
                let text = value()?;
                let number = text.parse().ok().filter(|n| (1..=256).contains(n));
                once(
                    &mut out.threads,
                    number.ok_or("--threads takes a number from 1 to 256")?,
                    "--threads",
                )?;
            }
            "--out" => once(&mut out.out, value()?, "--out")?,
            "--self-test" if inline.is_none() && !out.self_test => out.self_test = true,
            "--tree-only" if inline.is_none() => out.depth = Depth::TreeOnly,
            "--progress" if inline.is_none() => out.show = Show::Always,
            "--json" if inline.is_none() => output(&mut out, Output::Json)?,
            "--quiet" | "-q" if inline.is_none() => output(&mut out, Output::Brief)?,
            other if other.starts_with('-') && other != "-" => {
                return Err(format!("{other} is not known"));
            }
            _ => out.exports.push(name.clone()),
        }
    }
    Ok(out)
}

fn moment(text: &str, name: &str) -> Result<UnixMillis, String> {
    time::parse(text).ok_or_else(|| format!("{name}: {text} is no time"))
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    if slot.is_some() {
        return Err(format!("{name} is given twice"));
    }
    *slot = Some(value);
    Ok(())
}

fn output(arguments: &mut Arguments, output: Output) -> Result<(), String> {
    if arguments.output != Output::Text {
        return Err("--json and --quiet are given together, or one of them twice".to_owned());
    }
    arguments.output = output;
    Ok(())
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    if arguments.exports.is_empty() {
        return Err("no export is given".to_owned());
    }
    let trust_path = arguments
        .trust
        .as_deref()
        .ok_or("no --trust file is given; an export never says whom to trust")?;
    let asks = !arguments.receipts.is_empty() || arguments.query.is_some();
    if arguments.depth == Depth::TreeOnly && asks {
        return Err(
            "--receipts and --query need the entries that --tree-only does not read".to_owned(),
        );
    }
    let destination = arguments.out.as_deref().map(Destination::vacant);
    let destination = destination.transpose()?;
    let Own {
        trust,
        options,
        reference_sha256,
    } = own_files(arguments, trust_path)?;
    let now = match arguments.now {
        Some(now) => now,
        None => clock()?,
    };
    let score = match tried(arguments.self_test)? {
        Tried::Agreed(score) => score,
        Tried::Failed(result) => {
            // What such a program says of an export is worth nothing, so it says nothing.
            let text = format!(
                "this program does not judge its own corpus as it should: {}",
                result.render()
            );
            let _ = write!(std::io::stderr(), "countersign-verify: {text}");
            return Ok(ExitCode::from(Verdict::CannotBeEvaluated.exit_code()));
        }
    };
    let one = |path: &str, options: &Options| {
        let mut report = examine(path, &trust, options, now, arguments.show)?;
        if let Some(source) = &mut report.reference {
            source.sha256.clone_from(&reference_sha256);
        }
        report.self_test.clone_from(&score);
        Ok::<Report, String>(report)
    };
    let asks_fleet =
        arguments.fleet.is_some() || arguments.from.is_some() || arguments.until.is_some();
    if let ([only], false) = (arguments.exports.as_slice(), asks_fleet) {
        let report = one(only, &options)?;
        let text = match arguments.output {
            Output::Text => render(&report, Detail::Full),
            Output::Brief => render(&report, Detail::Brief),
            Output::Json => report.to_json().map_err(|e| e.to_string())?,
        };
        let json = || report.to_json().map_err(|e| e.to_string());
        return Ok(told(&text, report.exit_code, destination.as_ref(), json));
    }
    let fleet = together(arguments, &options, &trust, now, one)?;
    let text = match arguments.output {
        Output::Text => render_fleet(&fleet, Detail::Full),
        Output::Brief => render_fleet(&fleet, Detail::Brief),
        Output::Json => fleet.to_json().map_err(|e| e.to_string())?,
    };
    let json = || fleet.to_json().map_err(|e| e.to_string());
    Ok(told(&text, fleet.exit_code, destination.as_ref(), json))
}

/// What the auditor brings.
struct Own {
    trust: Trust,
    options: Options,
    reference_sha256: Option<String>,
}

fn own_files(arguments: &Arguments, trust_path: &str) -> Result<Own, String> {
    let trust = Trust::parse(&read(trust_path)?).map_err(|e| format!("{trust_path}: {e}"))?;
    let reference_bytes = arguments.reference.as_deref().map(read).transpose()?;
    let reference = reference_bytes
        .as_deref()
        .map(Reference::parse)
        .transpose()
        .map_err(|e| {
            format!(
                "{}: {e}",
                arguments.reference.as_deref().unwrap_or_default()
            )
        })?;
    let mut receipts = Vec::new();
    for path in &arguments.receipts {
        receipts.extend(split_receipts(&read(path)?).map_err(|e| format!("{path}: {e}"))?);
    }
    if arguments.checkpoints.len() > MAX_GIVEN {
        return Err(format!("--checkpoint is given more than {MAX_GIVEN} times"));
    }
    let mut checkpoints = Vec::new();
    for path in &arguments.checkpoints {
        checkpoints.push((path.clone(), read(path)?));
    }
    if arguments.today.len() > MAX_GIVEN {
        return Err(format!("--today is given more than {MAX_GIVEN} times"));
    }
    let mut today = Today::default();
    for path in &arguments.today {
        today
            .take(&read(path)?)
            .map_err(|e| format!("{path}: {e}"))?;
    }
    let threads = arguments
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let options = Options {
        trust_path: trust_path.to_owned(),
        reference,
        reference_path: arguments.reference.clone(),
        receipts,
        query: arguments.query.clone(),
        sizes: Vec::new(),
        today,
        checkpoints,
        threads: threads.unwrap_or(1),
        depth: arguments.depth,
        progress: None,
    };
    Ok(Own {
        trust,
        options,
        reference_sha256: reference_bytes.as_deref().map(|b| hex::encode(sha256(b))),
    })
}

/// Several exports: each by itself, then all of them.
fn together(
    arguments: &Arguments,
    options: &Options,
    trust: &Trust,
    now: UnixMillis,
    one: impl Fn(&str, &Options) -> Result<Report, String>,
) -> Result<FleetReport, String> {
    let mut manifests = Vec::new();
    for path in &arguments.exports {
        manifests.push(peek(path)?);
    }
    let mut reports = Vec::new();
    for (path, manifest) in arguments.exports.iter().zip(&manifests) {
        // Where others of the same gateway end, this one's root is compared with theirs.
        let same = |other: &&Manifest| {
            manifest
                .as_ref()
                .is_some_and(|m| m.gateway == other.gateway)
        };
        let sizes = manifests.iter().flatten().filter(same).map(|m| m.end);
        let options = Options {
            sizes: sizes.collect(),
            ..options.clone()
        };
        reports.push(one(path, &options)?);
    }
    let statement = match &arguments.fleet {
        Some(path) => Some((path.clone(), read(path)?)),
        None => None,
    };
    let asked = Asked {
        statement,
        from: arguments.from,
        until: arguments.until,
    };
    Ok(judge(reports, trust, &asked, now))
}

/// The manifest of an export, if it begins with one.
fn peek(path: &str) -> Result<Option<Manifest>, String> {
    if path == "-" {
        return Err("standard input can be one export only".to_owned());
    }
    let mut file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
    let mut framer = Framer::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match framer.next_frame() {
            Ok(Some(frame)) => return Ok(Manifest::from_bytes(&frame.content).ok()),
            // What is wrong with the file is found when it is judged.
            Err(_) => return Ok(None),
            Ok(None) => {}
        }
        let count = file.read(&mut buffer).map_err(|e| format!("{path}: {e}"))?;
        if count == 0 {
            return Ok(None);
        }
        framer.push(buffer.get(..count).unwrap_or_default());
    }
}

fn examine(
    path: &str,
    trust: &Trust,
    options: &Options,
    now: UnixMillis,
    show: Show,
) -> Result<Report, String> {
    let progress = Arc::new(Progress::default());
    let options = Options {
        progress: Some(Arc::clone(&progress)),
        ..options.clone()
    };
    if path == "-" {
        let meter = Meter::start(show, progress, None);
        let report = verify(std::io::stdin().lock(), trust, &options, now);
        meter.into_iter().for_each(Meter::finish);
        return Ok(report);
    }
    let file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
    let metadata = file.metadata().ok();
    if metadata.as_ref().is_some_and(std::fs::Metadata::is_dir) {
        return Err(format!("{path}: is a directory"));
    }
    let meter = Meter::start(show, progress, metadata.map(|m| m.len()));
    let report = verify(file, trust, &options, now);
    meter.into_iter().for_each(Meter::finish);
    Ok(report)
}

/// Prints a report and keeps it where that was asked for; the exit code.
fn told(
    text: &str,
    code: u8,
    destination: Option<&Destination>,
    json: impl FnOnce() -> Result<String, String>,
) -> ExitCode {
    let kept = destination.map_or(Ok(()), |to| to.write(&json()?));
    let printed = print(text, code);
    let Err(problem) = kept else {
        return printed;
    };
    let problem = neutralize(&problem);
    let _ = writeln!(std::io::stderr(), "countersign-verify: {problem}");
    // What was to be kept and is not there is no success; but a bad verdict stays bad.
    if code == Verdict::Verified.exit_code() {
        ExitCode::from(Verdict::CannotBeEvaluated.exit_code())
    } else {
        printed
    }
}

/// What came of trying this program on its corpus, if that was asked for.
enum Tried {
    /// Every case came out as expected, or nobody asked.
    Agreed(Option<selftest::Score>),
    /// Some case did not.
    Failed(SelfTest),
}

fn tried(asked: bool) -> Result<Tried, String> {
    if !asked {
        return Ok(Tried::Agreed(None));
    }
    let result = selftest::run(selftest::embedded).map_err(|e| e.to_string())?;
    Ok(if result.agrees() {
        Tried::Agreed(Some(result.score))
    } else {
        Tried::Failed(result)
    })
}

/// Exit code of a self-test in which a case came out otherwise.
const DISAGREES: u8 = 1;

/// Judges a corpus and prints how it went.
fn self_test(mut given: impl Iterator<Item = String>) -> Result<ExitCode, String> {
    let (mut corpus, mut json) = (None, false);
    while let Some(word) = given.next() {
        match word.split_once('=') {
            Some(("--corpus", path)) => once(&mut corpus, path.to_owned(), "--corpus")?,
            None if word == "--corpus" => {
                let path = given.next().ok_or("--corpus needs a value")?;
                once(&mut corpus, path, "--corpus")?;
            }
            None if word == "--json" && !json => json = true,
            Some(_) | None => return Err(format!("{word} is not known to self-test")),
        }
    }
    let result = match &corpus {
        None => selftest::run(selftest::embedded),
        Some(path) => selftest::run(|name| read(&format!("{path}/{name}"))),
    }
    .map_err(|e| e.to_string())?;
    let text = if json {
        result.to_json().map_err(|e| e.to_string())?
    } else {
        result.render()
    };
    Ok(print(&text, if result.agrees() { 0 } else { DISAGREES }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock; --now replaces it"
)]
fn clock() -> Result<UnixMillis, String> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|d| u64::try_from(d.as_millis()).ok())
        .map(UnixMillis)
        .ok_or_else(|| "this machine's clock is before 1970; give --now".to_owned())
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(Path::new(path))
        .map_err(|e| format!("{path}: {e}"))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(format!(
            "{path}: file is {size} bytes, limit is {MAX_FILE_BYTES}"
        ));
    }
    std::fs::read(path).map_err(|e| format!("{path}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments, String> {
        parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn every_option_is_taken_with_its_value_beside_it_or_behind_a_sign() {
        for words in [
            "e1 - a=b --trust t --reference r --receipts q1 --receipts q2 --checkpoint c --today d \
             --now 1000 --from 2000 --until 3000 --fleet f --query code=x --threads 256 --out o \
             --self-test --tree-only --progress --json",
            "--trust=t --reference=r --receipts=q1 --receipts=q2 --checkpoint=c --today=d --now=1000 \
             --from=2000 --until=3000 --fleet=f --query=code=x --threads=256 --out=o \
             e1 - a=b --self-test --tree-only --progress --json",
        ] {
            let words: Vec<&str> = words.split_whitespace().collect();
            let out = parsed(&words).unwrap();
            assert_eq!(out.exports, ["e1", "-", "a=b"]);
            assert_eq!(out.trust.as_deref(), Some("t"));
            assert_eq!(out.reference.as_deref(), Some("r"));
            assert_eq!(out.receipts, ["q1", "q2"]);
            assert_eq!(
                (out.checkpoints, out.today),
                (vec!["c".into()], vec!["d".into()])
            );
            assert_eq!(out.now, Some(UnixMillis(1000)));
            assert_eq!(
                (out.from, out.until),
                (Some(UnixMillis(2000)), Some(UnixMillis(3000)))
            );
            assert_eq!(out.fleet.as_deref(), Some("f"));
            assert_eq!(out.query, Query::parse("code=x").ok());
            assert_eq!((out.threads, out.out.as_deref()), (Some(256), Some("o")));
            assert!(out.self_test && out.depth == Depth::TreeOnly && out.show == Show::Always);
            assert_eq!(out.output, Output::Json);
        }
        assert_eq!(parsed(&["-q"]).unwrap().output, Output::Brief);
        assert_eq!(parsed(&["--quiet"]).unwrap().output, Output::Brief);
        assert_eq!(parsed(&["x"]).unwrap().threads, None);
    }

    #[test]
    fn what_is_not_known_given_twice_or_without_a_value_is_refused() {
        for (words, why) in [
            ("--colour", "--colour is not known"),
            ("-x", "-x is not known"),
            ("--self-test=1", "--self-test is not known"),
            ("--self-test --self-test", "--self-test is not known"),
            ("--tree-only=1", "--tree-only is not known"),
            ("--progress=1", "--progress is not known"),
            ("--json=1", "--json is not known"),
            ("--quiet=1", "--quiet is not known"),
            ("--trust", "--trust needs a value"),
            ("--trust a --trust b", "--trust is given twice"),
            ("--now 1 --now 1", "--now is given twice"),
            ("--until noon", "--until: noon is no time"),
            ("--threads 0", "--threads takes a number from 1 to 256"),
            ("--threads 257", "--threads takes a number from 1 to 256"),
            (
                "--json --quiet",
                "--json and --quiet are given together, or one of them twice",
            ),
            (
                "--json --json",
                "--json and --quiet are given together, or one of them twice",
            ),
        ] {
            let words: Vec<&str> = words.split_whitespace().collect();
            assert_eq!(parsed(&words).err().as_deref(), Some(why));
        }
    }
}
