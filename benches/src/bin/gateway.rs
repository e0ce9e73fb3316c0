//! A call through the gateway against the same call without it, in the same run.
//!
//! `gateway [--seconds N] [--rounds N] [--clients A,B,C] [--only WAY,…] [--renewal SECONDS]`
//!
//! Client, gateway and upstream are three processes on the same cores: an MCP server in memory
//! (about 2 KiB an answer), a bare JSON reverse proxy of the gateway's stack, and `countersign
//! serve` on a software TPM with its log on this disk. Clients wait for each answer. The table
//! has the median round by calls a second; beside it the processor time of the one in the middle,
//! the gateway's own `Server-Timing`, and a bare flush before and during the load. `tls` is `token` over TLS 1.3,
//! `controls` is `token` at another
//! gateway, whose site is large and has all controls ([`countersign_benches::controls`]).

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "measurements for people, at the console"
)]

use anyhow::{Context as _, Result, bail};
use countersign_benches::figures::{Flush, cpu_micros, load_average, machine, mean, percentile};
use countersign_benches::load::{Load, Run, run};
use countersign_benches::site::{Gateway, Running, Site, direct};
use countersign_benches::upstream::play_role;
use countersign_tests::certificates::Ca;
use rustls::ClientConfig;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

struct Options {
    seconds: u64,
    rounds: usize,
    clients: Vec<usize>,
    /// The ways to measure; all without a word.
    only: Vec<Way>,
    renewal: u64,
}

impl Options {
    fn wants(&self, way: Way) -> bool {
        self.only.is_empty() || self.only.contains(&way)
    }
}

fn options() -> Result<Options> {
    let mut out = Options {
        seconds: 3,
        rounds: 3,
        clients: vec![1, 16, 64],
        only: Vec::new(),
        renewal: 600,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--seconds" => out.seconds = value.parse()?,
            "--rounds" => out.rounds = value.parse()?,
            "--clients" => {
                let numbers: Result<Vec<usize>, _> = value.split(',').map(str::parse).collect();
                out.clients = numbers?;
            }
            "--only" => out.only = value.split(',').map(Way::named).collect::<Result<_>>()?,
            "--renewal" => out.renewal = value.parse()?,
            _ => bail!("unknown option {arg}"),
        }
    }
    Ok(out)
}

/// One way to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Proxy,
    Token,
    Tls,
    Controls,
    Signed,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Direct,
        Self::Proxy,
        Self::Token,
        Self::Tls,
        Self::Controls,
        Self::Signed,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Proxy => "proxy",
            Self::Token => "token",
            Self::Tls => "tls",
            Self::Controls => "controls",
            Self::Signed => "signed",
        }
    }

    fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|way| way.name() == name);
        found.with_context(|| format!("there is no way {name}"))
    }

    fn records(self) -> bool {
        matches!(
            self,
            Self::Token | Self::Tls | Self::Controls | Self::Signed
        )
    }
}

/// What an answer has to contain.
const RESULT: &[&str] = &["\"isError\":false"];
const ALLOWED: &[&str] = &["\"verdict\":\"allow\""];
const MODIFIED: &[&str] = &["\"verdict\":\"modify\""];

/// A run and what was seen around it.
struct Round {
    run: Run,
    cpu: f64,
    flush_during: (u32, u32),
    load: String,
}

struct Bench<'a> {
    upstream: &'a Running,
    proxy: &'a Running,
    gateway: &'a Gateway,
    /// Started only if it is measured: checking so large a site takes a while.
    controlled: Option<&'a Gateway>,
    /// Over TLS, and what its clients believe.
    private: Option<(&'a Gateway, Arc<ClientConfig>)>,
    lasting: Duration,
    dir: &'a Path,
}

impl Bench<'_> {
    fn controlled(&self) -> Result<&Gateway> {
        self.controlled.context("the large site was not started")
    }

    fn private(&self) -> Result<&(&Gateway, Arc<ClientConfig>)> {
        let private = self.private.as_ref();
        private.context("the site with TLS was not started")
    }

    fn round(&self, way: Way, clients: usize, likely: usize) -> Result<Round> {
        let (to, process) = match way {
            Way::Direct => (authority(self.upstream)?, self.upstream.id()),
            Way::Proxy => (authority(self.proxy)?, self.proxy.id()),
            Way::Token | Way::Signed => (self.gateway.address.clone(), self.gateway.process.id()),
            Way::Tls => {
                let (private, _) = self.private()?;
                (private.address.clone(), private.process.id())
            }
            Way::Controls => {
                let controlled = self.controlled()?;
                (controlled.address.clone(), controlled.process.id())
            }
        };
        let (requests, expected) = match way {
            Way::Direct | Way::Proxy => (direct(&to), RESULT),
            Way::Token => (self.gateway.with_token(), ALLOWED),
            Way::Tls => (self.private()?.0.with_token(), ALLOWED),
            // Rules that look at every result make every verdict `modify`.
            Way::Controls => (self.controlled()?.with_token(), MODIFIED),
            Way::Signed => (self.gateway.signed(likely)?, ALLOWED),
        };
        let tls = match way {
            Way::Tls => Some(Arc::clone(&self.private()?.1)),
            Way::Direct | Way::Proxy | Way::Token | Way::Controls | Way::Signed => None,
        };
        let load = Load {
            to,
            tls,
            requests,
            clients,
            lasting: self.lasting,
            expected,
        };
        let before = cpu_micros(process);
        let (run, flush_during) = if way.records() {
            while_flushing(self.dir, || run(load))?
        } else {
            (run(load)?, (0, 0))
        };
        let used = cpu_micros(process) - before;
        Ok(Round {
            cpu: used as f64 / run.times.len().max(1) as f64,
            run,
            flush_during,
            load: load_average(),
        })
    }
}

/// Flushes now and then beside `work`; p50 and p99 of that.
fn while_flushing<T: Send>(
    dir: &Path,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<(T, (u32, u32))> {
    let mut flush = Flush::new(dir)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| -> Result<Vec<u32>> {
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                times.push(countersign_benches::figures::micros(flush.once()?));
            }
            Ok(times)
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        let joined = flushing.join();
        let mut times = joined.map_err(|_| anyhow::anyhow!("the flushing thread panicked"))??;
        times.sort_unstable();
        Ok((
            result?,
            (percentile(&times, 50.0), percentile(&times, 99.0)),
        ))
    })
}

fn authority(process: &Running) -> Result<String> {
    let url = process
        .ready
        .strip_prefix("http://")
        .context("no address")?;
    Ok(url.trim_end_matches("/mcp").to_owned())
}

fn main() -> Result<()> {
    if countersign_benches::figures::helps(include_str!("gateway.rs")) {
        return Ok(());
    }
    if play_role()? {
        return Ok(());
    }
    let options = options()?;
    let dir = tempfile::tempdir()?;
    let upstream = Running::role(&["role:upstream"])?;
    let proxy = Running::role(&["role:proxy", &upstream.ready])?;
    let site = Site::make(dir.path(), &upstream.ready, options.renewal)?;
    let gateway = site.serve()?;
    let large = tempfile::tempdir()?;
    let with_controls = options
        .wants(Way::Controls)
        .then(|| Site::make_controlled(large.path(), &upstream.ready, options.renewal))
        .transpose()?;
    let controlled = with_controls.as_ref().map(Site::serve).transpose()?;
    let private = tempfile::tempdir()?;
    let ca = options.wants(Way::Tls).then(|| Ca::make(private.path()));
    let with_tls = ca
        .as_ref()
        .map(|ca| Site::make_tls(private.path(), &upstream.ready, options.renewal, ca))
        .transpose()?;
    let over_tls = with_tls.as_ref().map(Site::serve).transpose()?;
    let bench = Bench {
        upstream: &upstream,
        proxy: &proxy,
        gateway: &gateway,
        controlled: controlled.as_ref(),
        private: over_tls.as_ref().zip(ca.as_ref().map(Ca::client)),
        lasting: Duration::from_secs(options.seconds),
        dir: dir.path(),
    };
    println!("{}", machine());
    // Signatures of the epoch's first second are refused.
    std::thread::sleep(Duration::from_secs(1));
    for clients in &options.clients {
        let (p50, p99) = Flush::new(dir.path())?.measure(1000)?;
        println!("\n{clients} clients; a bare flush of 2 KiB before: p50 {p50} µs, p99 {p99} µs");
        println!(
            "{:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>13} {:>6}",
            "way",
            "calls/s",
            "p50 µs",
            "p90 µs",
            "p99 µs",
            "p99/p50",
            "p99.9 µs",
            "cpu µs",
            "flush p50/p99",
            "load"
        );
        measure(&bench, &options, *clients)?;
    }
    for gateway in [controlled, over_tls].into_iter().flatten() {
        gateway.process.stop()?;
    }
    gateway.process.stop()
}

fn measure(bench: &Bench<'_>, options: &Options, clients: usize) -> Result<()> {
    let mut likely = 2000;
    let mut rounds: Vec<(Way, Vec<Round>)> = Way::ALL
        .into_iter()
        .filter(|way| options.wants(*way))
        .map(|way| (way, Vec::new()))
        .collect();
    for _ in 0..options.rounds {
        for (way, done) in &mut rounds {
            let round = bench.round(*way, clients, likely)?;
            if *way == Way::Token {
                likely = round.run.times.len() * 5 / 4 + 200;
            }
            done.push(round);
        }
    }
    let mut stages = Vec::new();
    for (way, mut done) in rounds {
        done.sort_by(|a, b| a.run.rate().total_cmp(&b.run.rate()));
        let middle = done.len() / 2;
        let round = done.into_iter().nth(middle).context("no round")?;
        print_row(way, &round);
        stages.push((way, round.run.stages));
    }
    for (way, stages) in stages {
        print_stages(way, stages);
    }
    Ok(())
}

fn print_row(way: Way, round: &Round) {
    let Round {
        run,
        cpu,
        flush_during: (p50, p99),
        load,
    } = round;
    let flush = if way.records() {
        format!("{p50}/{p99}")
    } else {
        "–".to_owned()
    };
    println!(
        "{:>8} {:>9.0} {:>8} {:>8} {:>8} {:>8.1} {:>9} {:>9.0} {flush:>13} {load:>6}",
        way.name(),
        run.rate(),
        run.at(50.0),
        run.at(90.0),
        run.at(99.0),
        f64::from(run.at(99.0)) / f64::from(run.at(50.0).max(1)),
        run.at(99.9),
        cpu,
    );
}

fn print_stages(way: Way, stages: Vec<(String, Vec<u32>)>) {
    if stages.is_empty() {
        return;
    }
    print!("{:>8} server-timing, mean (p50, p99) in µs:", way.name());
    for (name, mut values) in stages {
        values.sort_unstable();
        let (p50, p99) = (percentile(&values, 50.0), percentile(&values, 99.0));
        print!("  {name} {:.0} ({p50}, {p99})", mean(&values));
    }
    println!();
}
