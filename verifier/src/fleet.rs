//! Several exports in one verdict: whether they are of all gateways of a fleet, and of one history each.
//!
//! In: a [`Report`] of each export, what each showed ([`Seen`]), a fleet statement by hand or from
//! the exports, the time that is asked about. Out: a [`FleetReport`]. Every export is judged by
//! itself first; nothing here mends what that found. What two exports say of one another, such as
//! an adoption, belongs here too.
//!
//! Spec: `docs/spec/verification.md`, "Several exports".

use crate::codes::Code;
use crate::handover;
use crate::keys;
use crate::ledger::{Ledger, State};
use crate::report::{CheckResult, REPORT_VERSION, Report, Verdict, result};
use crate::time;
use crate::trust::Trust;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{GatewayId, NodeHash, UnixMillis};
use countersign_record::export::Period;
use countersign_record::statement::{FLEET_TYP, FleetMember, FleetStatement};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What an export shows that others are compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whose log it is.
    pub gateway: Option<GatewayId>,
    /// The genuine fleet statement with the highest number.
    pub statement: Option<FleetStatement>,
    /// How many entries it covers.
    pub size: u64,
    /// Root over them.
    pub root: Option<NodeHash>,
    /// Roots at smaller sizes that were asked for.
    pub roots: BTreeMap<u64, NodeHash>,
    /// Whether every entry is there, of its period if it has one.
    pub whole: bool,
    /// The period that it is limited to.
    pub period: Option<Period>,
    /// Time of the last entry, as claimed.
    pub last: Option<UnixMillis>,
    /// Whether the last epoch is closed.
    pub closed: bool,
}

/// What is asked of a fleet.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// A signed fleet statement that the auditor has, with its path.
    pub statement: Option<(String, Vec<u8>)>,
    /// From when on; absent means from the beginning.
    pub from: Option<UnixMillis>,
    /// Until when; absent means as far as each export goes.
    pub until: Option<UnixMillis>,
}

/// What follows from several exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetReport {
    /// [`REPORT_VERSION`].
    pub report: u64,
    /// Version of this program.
    pub verifier: &'static str,
    /// The worst of all.
    pub verdict: Verdict,
    /// Exit code of the command.
    pub exit_code: u8,
    /// The verdict in a sentence.
    pub headline: String,
    /// The time that was taken as now, in milliseconds since 1970.
    pub now: u64,
    /// What is said of the fleet.
    pub fleet: FleetResult,
    /// The report of each export, in the order in which they were given.
    pub reports: Vec<Report>,
}

/// What is said of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetResult {
    /// Name of the fleet.
    pub name: Option<String>,
    /// Number of the statement that was used.
    pub statement: Option<u64>,
    /// Where it is from.
    pub source: Option<String>,
    /// Gateways that it lists for the time that is asked about.
    pub listed: u64,
    /// Those of which a good export covers that time.
    pub complete: u64,
    /// In a sentence.
    pub answer: String,
    /// Checks `fleet` and `histories`.
    pub checks: Vec<CheckResult>,
    /// What this cannot prove.
    pub not_proved: Vec<String>,
}

/// Judges reports together.
#[must_use]
pub fn judge(
    mut reports: Vec<Report>,
    trust: &Trust,
    asked: &Asked,
    now: UnixMillis,
) -> FleetReport {
    // One gateway may continue another's work; what only both show is part of the report of the one that does.
    handover::link(&mut reports);
    let mut work = Work {
        ledger: Ledger::new(),
        reports: &reports,
        asked,
        now,
    };
    work.histories();
    let statement = work.statement(trust);
    let (listed, complete) = match &statement {
        Some((statement, _)) => work.members(statement),
        None => (0, 0),
    };
    let ledger = work.ledger;
    let answer = match &statement {
        Some((s, _)) => format!(
            "complete for {complete} of {listed} gateways of fleet statement {} of {}",
            s.number, s.fleet
        ),
        None => "no fleet statement says of how many gateways this should be".to_owned(),
    };
    let verdict = worst(&ledger, &reports);
    let headline = format!("{}: {answer}", verdict.words());
    FleetReport {
        report: REPORT_VERSION,
        verifier: env!("CARGO_PKG_VERSION"),
        verdict,
        exit_code: verdict.exit_code(),
        headline,
        now: now.0,
        fleet: FleetResult {
            name: statement.as_ref().map(|(s, _)| s.fleet.clone()),
            statement: statement.as_ref().map(|(s, _)| s.number),
            source: statement.map(|(_, source)| source),
            listed,
            complete,
            answer,
            checks: [Code::Fleet, Code::Histories]
                .map(|code| result(code, &ledger))
                .to_vec(),
            not_proved: vec![
                "that there is no gateway that the statement does not list".to_owned(),
                "that nothing went round the gateways".to_owned(),
            ],
        },
        reports,
    }
}

impl FleetReport {
    /// As JSON, with a final newline; characters that could mislead a terminal are escaped.
    ///
    /// # Errors
    /// Only if memory cannot hold it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = crate::text::neutralize_json(&serde_json::to_string_pretty(self)?);
        text.push('\n');
        Ok(text)
    }
}

struct Work<'a> {
    ledger: Ledger,
    reports: &'a [Report],
    asked: &'a Asked,
    now: UnixMillis,
}

impl Work<'_> {
    fn unknown(&mut self, code: Code, text: String) {
        self.ledger.unknown(code, None, text);
    }

    /// Two exports of one gateway are one history if the smaller is the beginning of the larger.
    fn histories(&mut self) {
        let seen: Vec<&Seen> = self.reports.iter().map(|r| &r.seen).collect();
        for (number, one) in seen.iter().enumerate() {
            for other in seen.iter().skip(number.saturating_add(1)) {
                let Some(gateway) = one.gateway.filter(|g| Some(*g) == other.gateway) else {
                    continue;
                };
                let (small, large) = match one.size <= other.size {
                    true => (one, other),
                    false => (other, one),
                };
                let root = match small.size == large.size {
                    true => large.root,
                    false => large.roots.get(&small.size).copied(),
                };
                match small.root.zip(root) {
                    Some((a, b)) if a == b => self.ledger.held(Code::Histories),
                    Some(_) => {
                        let text = format!(
                            "two histories of gateway {gateway}: the first {} entries of one export are not those of the other",
                            small.size
                        );
                        self.ledger.fail(Code::Histories, None, text);
                    }
                    None => {
                        let text = format!(
                            "the exports of gateway {gateway} cannot be compared at {} entries: they are withheld, or not there",
                            small.size
                        );
                        self.unknown(Code::Histories, text);
                    }
                }
            }
        }
    }

    /// The statement that counts, and where it is from.
    fn statement(&mut self, trust: &Trust) -> Option<(FleetStatement, String)> {
        let newest = self.newest();
        let by_hand = match &self.asked.statement {
            None => None,
            Some((path, bytes)) => {
                let read =
                    keys::statement(bytes, FLEET_TYP, &trust.governance).and_then(|(p, _)| {
                        FleetStatement::from_bytes(p).map_err(|e| format!("it is malformed: {e}"))
                    });
                match read {
                    Ok(statement) => Some((statement, path.clone())),
                    Err(text) => {
                        self.unknown(Code::Fleet, format!("{path}: {text}"));
                        return None;
                    }
                }
            }
        };
        match (by_hand, newest) {
            (Some((hand, path)), Some(newest)) => {
                if hand.fleet == newest.fleet && hand.number < newest.number {
                    let text = format!(
                        "{path} is statement {}, and an export has statement {}",
                        hand.number, newest.number
                    );
                    self.ledger.skipped(Code::Fleet, None, text);
                }
                Some((hand, path))
            }
            (Some(hand), None) => Some(hand),
            (None, Some(newest)) => Some((newest, "the exports".to_owned())),
            (None, None) => {
                let text = "no genuine fleet statement is in the exports or was given";
                self.unknown(Code::Fleet, text.to_owned());
                None
            }
        }
    }

    /// The genuine statement with the highest number in any export.
    fn newest(&mut self) -> Option<FleetStatement> {
        let all: Vec<&FleetStatement> = self
            .reports
            .iter()
            .filter_map(|r| r.seen.statement.as_ref())
            .collect();
        let newest = *all.iter().max_by_key(|s| s.number)?;
        for other in &all {
            if other.fleet != newest.fleet {
                let text = format!(
                    "the exports are of different fleets: {} and {}",
                    newest.fleet, other.fleet
                );
                self.ledger.fail(Code::Fleet, None, text);
            } else if other.number == newest.number && *other != newest {
                let text = format!("there are two different fleet statements {}", newest.number);
                self.ledger.fail(Code::Fleet, None, text);
            }
        }
        Some(newest.clone())
    }

    /// How many gateways are listed for the time that is asked about, and how many of them are complete.
    fn members(&mut self, statement: &FleetStatement) -> (u64, u64) {
        let listed: BTreeSet<GatewayId> = statement.members.iter().map(|m| m.gateway).collect();
        for gateway in self.reports.iter().filter_map(|r| r.seen.gateway) {
            if !listed.contains(&gateway) {
                let text = format!(
                    "gateway {gateway} is not listed by fleet statement {}",
                    statement.number
                );
                self.ledger.fail(Code::Fleet, None, text);
            }
        }
        let (mut asked, mut complete) = (0u64, 0u64);
        for member in &statement.members {
            let from = self.asked.from.unwrap_or(UnixMillis(0)).max(member.from);
            let ends = [self.asked.until.map(|u| u.min(self.now)), member.until];
            let until = ends.into_iter().flatten().min();
            if until.is_some_and(|until| until <= from) {
                continue;
            }
            asked = asked.saturating_add(1);
            match self.covered(member, from, until) {
                Ok(()) => {
                    complete = complete.saturating_add(1);
                    self.ledger.held(Code::Fleet);
                }
                Err(text) => {
                    let text = format!("{} ({}): {text}", member.name, member.gateway);
                    self.unknown(Code::Fleet, text);
                }
            }
        }
        if asked == 0 {
            // "Complete for 0 of 0" would sound like a success.
            let text = format!(
                "fleet statement {} lists no gateway for the time that is asked about",
                statement.number
            );
            self.unknown(Code::Fleet, text);
        }
        (asked, complete)
    }

    /// Whether an export covers a member's time.
    fn covered(
        &self,
        member: &FleetMember,
        from: UnixMillis,
        until: Option<UnixMillis>,
    ) -> Result<(), String> {
        let mut why = "its export is not here".to_owned();
        let of_member = |r: &&Report| r.seen.gateway == Some(member.gateway);
        for report in self.reports.iter().filter(of_member) {
            match covers(report, member, from, until) {
                Ok(()) => return Ok(()),
                Err(text) => why = text,
            }
        }
        Err(why)
    }
}

fn covers(
    report: &Report,
    member: &FleetMember,
    from: UnixMillis,
    until: Option<UnixMillis>,
) -> Result<(), String> {
    let seen = &report.seen;
    match report.verdict {
        Verdict::Verified | Verdict::AgainstPolicy => {}
        Verdict::Untrusted | Verdict::CannotBeEvaluated => {
            return Err("its export has no good verdict of its own".to_owned());
        }
    }
    if !seen.whole {
        return Err("its export is of one tenant or run only".to_owned());
    }
    if let Some(period) = &seen.period {
        let open = until.is_none_or(|until| until > period.until);
        if period.from > from || open {
            return Err(format!(
                "its export is limited to {} to {}",
                time::format(period.from),
                time::format(period.until)
            ));
        }
    }
    let last = seen.last.unwrap_or(UnixMillis(0));
    // A gateway that has left the fleet may have closed its log earlier.
    let left = member.until.is_some() && until == member.until && seen.closed;
    match until {
        Some(until) if last < until && !left => Err(format!(
            "its export ends at {}, before the time that is asked about",
            time::format(last)
        )),
        Some(_) | None => Ok(()),
    }
}

fn worst(ledger: &Ledger, reports: &[Report]) -> Verdict {
    let states = [Code::Fleet, Code::Histories].map(|c| ledger.state(c));
    let all = [
        (State::Fail, Verdict::Untrusted),
        (State::CannotTell, Verdict::CannotBeEvaluated),
    ];
    let own = all.into_iter().find(|(state, _)| states.contains(state));
    let order = [
        Verdict::Untrusted,
        Verdict::CannotBeEvaluated,
        Verdict::AgainstPolicy,
    ];
    let has =
        |v: &Verdict| own.is_some_and(|(_, o)| o == *v) || reports.iter().any(|r| r.verdict == *v);
    order.into_iter().find(has).unwrap_or(Verdict::Verified)
}
