//! What a gateway costs beside its calls: starting, reading a long log, renewing, memory.
//!
//! `lifecycle [--entries N] [--seconds N] [--only boot|recovery|renewal|stop]`
//!
//! `boot`: from the start of the process to `ready` and to the first answered call; on a new log,
//! after a stop in good order, and after SIGKILL. `recovery`: the same with N entries in the log
//! (100,000 unless told), each call being two. `renewal`: load by 16 clients with a renewal every
//! 5 seconds (the shortest that the settings take); calls that were under way while a renewal was made, by
//! the log's own times, against all others. `stop`: under the same load, from when a person's order to stop everything is
//! sent until no call is let through any more, and until the order is answered.

#![expect(
    clippy::disallowed_methods,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "measurements for people, at the console"
)]

use anyhow::{Context as _, Result, bail, ensure};
use countersign_benches::figures::{load_average, machine, memory_kib, percentile};
use countersign_benches::load::{Load, Run, run, wall_micros};
use countersign_benches::site::{Gateway, Running, Site};
use countersign_benches::upstream::play_role;
use countersign_record::binding::RenewalStatement;
use countersign_record::body::StopAct;
use countersign_record::cbor::Cbor as _;
use countersign_record::entry::{Body, Entry};
use countersign_record::export::{Framer, ItemKind};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

struct Options {
    entries: u64,
    seconds: u64,
    only: Option<String>,
}

fn options() -> Result<Options> {
    let mut out = Options {
        entries: 100_000,
        seconds: 20,
        only: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--entries" => out.entries = value.parse()?,
            "--seconds" => out.seconds = value.parse()?,
            "--only" => out.only = Some(value),
            _ => bail!("unknown option {arg}"),
        }
    }
    Ok(out)
}

fn main() -> Result<()> {
    if countersign_benches::figures::helps(include_str!("lifecycle.rs")) {
        return Ok(());
    }
    if play_role()? {
        return Ok(());
    }
    let options = options()?;
    let wanted = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    println!("{}", machine());
    let upstream = Running::role(&["role:upstream"])?;
    if wanted("boot") {
        boots(&upstream.ready)?;
    }
    if wanted("recovery") {
        recovery(&upstream.ready, options.entries)?;
    }
    if wanted("renewal") {
        renewal(&upstream.ready, Duration::from_secs(options.seconds))?;
    }
    if wanted("stop") {
        stop(&upstream.ready)?;
    }
    Ok(())
}

/// Starts the gateway, makes one call, and says how long both took.
fn start(site: &Site, what: &str) -> Result<Gateway> {
    let began = Instant::now();
    let gateway = site.serve()?;
    let ready = began.elapsed();
    load(&gateway, 1, Duration::ZERO)?;
    let called = began.elapsed();
    let (now, peak) = memory_kib(gateway.process.id());
    println!(
        "{what:>38}: ready after {:>6.0} ms, first call answered after {:>6.0} ms; memory {} MiB, at its peak {} MiB; log {} MiB",
        ready.as_secs_f64() * 1000.0,
        called.as_secs_f64() * 1000.0,
        now >> 10,
        peak >> 10,
        site.log_bytes() >> 20
    );
    Ok(gateway)
}

/// Token callers in a closed loop; at least one call each.
fn load(gateway: &Gateway, clients: usize, lasting: Duration) -> Result<Run> {
    run(Load {
        to: gateway.address.clone(),
        tls: None,
        requests: gateway.with_token(),
        clients,
        lasting: lasting.max(Duration::from_millis(1)),
        expected: &["\"verdict\":\"allow\""],
    })
}

fn boots(upstream: &str) -> Result<()> {
    println!("\nboot (load average {})", load_average());
    let dir = tempfile::tempdir()?;
    let site = Site::make(dir.path(), upstream, 600)?;
    start(&site, "new log")?.process.stop()?;
    start(&site, "after a stop in good order")?.process.cut()?;
    start(&site, "after SIGKILL")?.process.stop()
}

fn recovery(upstream: &str, entries: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let site = Site::make(dir.path(), upstream, 600)?;
    let gateway = site.serve()?;
    println!(
        "\nrecovery of {entries} entries (load average {})",
        load_average()
    );
    let mut calls = 0u64;
    let began = Instant::now();
    while calls * 2 < entries {
        calls += load(&gateway, 64, Duration::from_secs(2))?.times.len() as u64;
    }
    let (now, peak) = memory_kib(gateway.process.id());
    println!(
        "{calls} calls in {:.0} s; memory after them {} MiB, at its peak {} MiB",
        began.elapsed().as_secs_f64(),
        now >> 10,
        peak >> 10
    );
    exporting(&site, &gateway, &dir.path().join("export"))?;
    gateway.process.stop()?;
    start(&site, "after a stop in good order")?.process.cut()?;
    start(&site, "after SIGKILL")?.process.stop()
}

/// How fast an export is written, and how fast its bytes alone are copied and flushed.
fn exporting(site: &Site, gateway: &Gateway, file: &Path) -> Result<()> {
    let began = Instant::now();
    site.export(gateway, file)?;
    let took = began.elapsed().as_secs_f64();
    let mut framer = Framer::new();
    let bytes = std::fs::read(file)?;
    framer.push(&bytes);
    let mut entries = 0u64;
    while let Some(frame) = framer.next_frame()? {
        entries += u64::from(frame.kind == ItemKind::Entry);
    }
    let began = Instant::now();
    let mut copy = File::create(file.with_extension("copy"))?;
    copy.write_all(&bytes)?;
    copy.sync_all()?;
    println!(
        "export of {entries} entries, {} bytes ({} each): {took:.2} s, {:.0} entries/s; its bytes alone, written and flushed: {:.2} s",
        bytes.len(),
        bytes.len() as u64 / entries.max(1),
        entries as f64 / took,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn renewal(upstream: &str, lasting: Duration) -> Result<()> {
    const CLIENTS: usize = 16;
    println!(
        "\nrenewal every 5 s, {CLIENTS} clients for {} s (load average {})",
        lasting.as_secs(),
        load_average()
    );
    let dir = tempfile::tempdir()?;
    let site = Site::make(dir.path(), upstream, 5)?;
    let gateway = site.serve()?;
    let run = load(&gateway, CLIENTS, lasting)?;
    let file = dir.path().join("export");
    site.export(&gateway, &file)?;
    let renewals = renewals(&file)?;
    gateway.process.stop()?;
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for (began, ended) in &run.spans {
        let time = u32::try_from(ended - began).unwrap_or(u32::MAX);
        let during = renewals
            .iter()
            .any(|(from, to)| began <= to && ended >= from);
        (if during { &mut inside } else { &mut outside }).push(time);
    }
    let span: u64 = renewals.iter().map(|(from, to)| to - from).sum();
    println!(
        "{:.0} calls/s, {} renewals of {:.1} ms on average",
        run.rate(),
        renewals.len(),
        span as f64 / 1000.0 / renewals.len().max(1) as f64
    );
    for (what, mut times) in [("during renewals", inside), ("otherwise", outside)] {
        times.sort_unstable();
        println!(
            "{what:>20}: {:>8} calls, p50 {:>6} µs, p99 {:>6} µs, longest {:>6} µs",
            times.len(),
            percentile(&times, 50.0),
            percentile(&times, 99.0),
            times.last().copied().unwrap_or(0)
        );
    }
    Ok(())
}

/// Orders to stop everything, and to let it go on, while clients call.
fn stop(upstream: &str) -> Result<()> {
    const CLIENTS: usize = 16;
    const ORDERS: usize = 20;
    println!(
        "\nstop of everything, {ORDERS} times, {CLIENTS} clients (load average {})",
        load_average()
    );
    let dir = tempfile::tempdir()?;
    let site = Site::make(dir.path(), upstream, 600)?;
    let gateway = site.serve()?;
    let (mut lasted, mut answered) = (Vec::new(), Vec::new());
    for number in 0..ORDERS {
        let id = format!("stop-{number}");
        let order = gateway.stop_order(StopAct::Stopped, &id)?;
        let ordering = std::thread::spawn({
            let to = gateway.address.clone();
            move || {
                std::thread::sleep(Duration::from_millis(300));
                let sent = wall_micros();
                post(&to, &order).map(|()| (sent, wall_micros()))
            }
        });
        let run = run(Load {
            to: gateway.address.clone(),
            tls: None,
            requests: gateway.with_token(),
            clients: CLIENTS,
            lasting: Duration::from_millis(500),
            expected: &["\"verdict\":\"allow\"", "stopped"],
        })?;
        let joined = ordering.join();
        let (sent, answer) = joined.map_err(|_| anyhow::anyhow!("the order panicked"))??;
        let calls = run.spans.iter().zip(&run.answers);
        let let_through = calls.filter(|(_, answer)| **answer == 0);
        let last = let_through.map(|((began, _), _)| *began).max();
        lasted.push(u32::try_from(last.unwrap_or(0).saturating_sub(sent))?);
        answered.push(u32::try_from(answer - sent)?);
        post(
            &gateway.address,
            &gateway.stop_order(StopAct::Resumed, &id)?,
        )?;
    }
    gateway.process.stop()?;
    for (what, mut times) in [
        ("the last call that was let through began", lasted),
        ("the order was answered", answered),
    ] {
        times.sort_unstable();
        println!(
            "{what:>42}: p50 {:>6} µs, longest {:>6} µs after it was sent",
            percentile(&times, 50.0),
            times.last().copied().unwrap_or(0)
        );
    }
    Ok(())
}

/// Sends a signed statement about a stop, and expects that it is taken.
fn post(to: &str, statement: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let head = format!(
        "POST /v1/stops HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        statement.len()
    );
    stream.write_all(&[head.as_bytes(), statement].concat())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "refused: {answer}");
    Ok(())
}

/// From when to when each renewal was made, in microseconds since 1970, by the log's milliseconds.
fn renewals(export: &Path) -> Result<Vec<(u64, u64)>> {
    let mut file = File::open(export)?;
    let (mut framer, mut piece, mut out) = (Framer::new(), vec![0; 1 << 20], Vec::new());
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(out);
        }
        framer.push(piece.get(..count).unwrap_or_default());
        while let Some(frame) = framer.next_frame()? {
            if frame.kind != ItemKind::Entry {
                continue;
            }
            let entry = Entry::parse(&frame.content)?;
            if let Body::Renewal(renewal) = entry.body() {
                let statement = RenewalStatement::from_bytes(&renewal.statement.0)?;
                out.push((statement.at.0 * 1000, (entry.place().at.0 + 1) * 1000));
            }
        }
    }
}
