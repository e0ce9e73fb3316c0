//! What is missing on this machine, in words that an operator can act on.
//!
//! In: what a TPM, the kernel and the site's files say, as others gathered it; a time. Out: a [`Report`]: every
//! finding of a closed list, once, with what was found and what to do. Text and JSON are functions of it.
//!
//! Nothing here is evidence, and nothing is changed by it: it looks for what would keep a gateway from starting or a
//! verifier from believing it. Secrets are neither read nor shown.
//!
//! | module | what it judges |
//! |---|---|
//! | [`site`] | settings, bundle, release, state directory, clock |
//! | [`tpm`] | the TPM, and what its state survives |
//! | [`machine`] | how the processor could report, and whether it is asked |
//! | [`vendors`] | collateral, and how far the TCB is from a floor |

pub mod machine;
pub mod site;
pub mod tpm;
pub mod vendors;

use countersign_verify::text::{neutralize, neutralize_json};
use serde::Serialize;
use std::fmt;

/// Version of the JSON's field names.
pub const DOCTOR_VERSION: u64 = 1;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What is looked at. The texts are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All of them, in the order of a report.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its stable text.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The settings' file.
    SiteSettings = "site.settings",
    /// The signed bundle.
    SiteBundle = "site.bundle",
    /// The release policy.
    SiteRelease = "site.release",
    /// The wall clock beside what the site's files say.
    SiteClock = "site.clock",
    /// The state directory and who may open it.
    StateDirectory = "state.directory",
    /// The sealed keys.
    StateKeys = "state.keys",
    /// The log, and whether a gateway has it.
    StateLog = "state.log",
    /// Room for the log.
    StateSpace = "state.space",
    /// Whether a TPM answers.
    TpmReachable = "tpm.reachable",
    /// What the TPM says it is.
    TpmIdentity = "tpm.identity",
    /// Which platform profile was found, and why.
    TpmProfile = "tpm.profile",
    /// Whether keys and indices can be made and used.
    TpmAuthorization = "tpm.authorization",
    /// The SHA-256 bank and what the machine booted to.
    TpmRegisters = "tpm.registers",
    /// Whether the TPM's clock is safe.
    TpmClock = "tpm.clock",
    /// The measured-boot event log.
    TpmEventLog = "tpm.event-log",
    /// The storage key.
    TpmStorageKey = "tpm.storage-key",
    /// The epoch counter.
    TpmCounter = "tpm.counter",
    /// The release floor.
    TpmFloor = "tpm.floor",
    /// Whether the TPM's state outlives the machine's next start.
    TpmPersistence = "tpm.persistence",
    /// The kernel.
    MachineKernel = "machine.kernel",
    /// Reports by configfs.
    MachineTsm = "machine.tsm",
    /// The device of SEV-SNP guests.
    MachineSevGuest = "machine.sev-guest",
    /// The device of TDX guests.
    MachineTdxGuest = "machine.tdx-guest",
    /// Endorsements that the profile needs.
    CollateralPresent = "collateral.present",
    /// Until when they hold.
    CollateralValidity = "collateral.validity",
    /// How far the TCB is from the floor of a trust file.
    CollateralTcb = "collateral.tcb",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// A gateway runs with it; somebody should look at it.
    Warn,
    /// A gateway does not start with it, or a verifier refuses what it makes.
    Fail,
    /// It could not be told.
    Unknown,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do; nothing where all is well.
    pub advice: Option<String>,
}

impl Code {
    /// All is well.
    #[must_use]
    pub fn ok(self, found: impl Into<String>) -> Finding {
        Finding {
            code: self,
            state: State::Ok,
            found: found.into(),
            advice: None,
        }
    }

    /// Somebody should look at it.
    #[must_use]
    pub fn warn(self, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        self.with(State::Warn, found, advice)
    }

    /// It does not go like this.
    #[must_use]
    pub fn fail(self, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        self.with(State::Fail, found, advice)
    }

    /// It could not be told.
    #[must_use]
    pub fn unknown(self, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        self.with(State::Unknown, found, advice)
    }

    fn with(self, state: State, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            code: self,
            state,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }
}

/// All findings.
///
/// INVARIANT: each code of [`Code::ALL`] once, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Findings in order. What nobody looked at is unknown, and what was found twice stands as the first.
    #[must_use]
    pub fn of(found: Vec<Finding>) -> Self {
        let one = |code: &Code| {
            let first = found.iter().find(|f| f.code == *code).cloned();
            first.unwrap_or_else(|| {
                code.unknown("nobody looked at it", "see what is said above it first")
            })
        };
        Self {
            findings: Code::ALL.iter().map(one).collect(),
        }
    }

    /// All findings, in order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many stand so.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|f| f.state == state).count()
    }

    /// 1 if something fails, otherwise 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.count(State::Fail) > 0)
    }

    /// As text. What devices and files say of themselves is neutralized.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let Finding {
                code,
                state,
                found,
                advice,
            } = finding;
            let (state, code) = (state.word(), code.text());
            out.push_str(&format!("{state:<8} {code:<21} {}", neutralize(found)));
            match advice.as_deref().map(neutralize) {
                // Only where else to look.
                Some(advice) if advice.starts_with("see ") => {
                    out.push_str(&format!(" ({advice})\n"));
                }
                Some(advice) => out.push_str(&format!("\n{:31}→ {advice}\n", "")),
                None => out.push('\n'),
            }
        }
        let [ok, warn, fail, unknown] =
            [State::Ok, State::Warn, State::Fail, State::Unknown].map(|s| self.count(s));
        out.push_str(&format!(
            "\n{ok} ok, {warn} to look at, {fail} to mend, {unknown} not told\n"
        ));
        out
    }

    /// As JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON; it always can.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            code: &'static str,
            state: State,
            found: &'a str,
            #[serde(rename = "do")]
            advice: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Whole<'a> {
            doctor: u64,
            version: &'static str,
            exit_code: u8,
            findings: Vec<Line<'a>>,
        }
        let lines = self.findings.iter().map(|f| Line {
            code: f.code.text(),
            state: f.state,
            found: &f.found,
            advice: f.advice.as_deref(),
        });
        let whole = Whole {
            doctor: DOCTOR_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            exit_code: self.exit_code(),
            findings: lines.collect(),
        };
        serde_json::to_string_pretty(&whole).map(|text| {
            let mut text = neutralize_json(&text);
            text.push('\n');
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_every_code_once_and_in_order() {
        let report = Report::of(vec![
            Code::TpmClock.ok("safe"),
            Code::SiteSettings.ok("read"),
            Code::TpmClock.fail("a second", "is not taken"),
        ]);
        let codes: Vec<Code> = report.findings().iter().map(|f| f.code).collect();
        assert_eq!(codes, Code::ALL);
        assert_eq!(report.count(State::Ok), 2);
        assert_eq!(report.count(State::Unknown), Code::ALL.len() - 2);
        assert_eq!(report.exit_code(), 0);
    }

    #[test]
    fn what_fails_is_an_exit_of_one_and_nothing_else_is() {
        for (finding, exit) in [
            (Code::TpmReachable.ok("x"), 0),
            (Code::TpmReachable.warn("x", "y"), 0),
            (Code::TpmReachable.unknown("x", "y"), 0),
            (Code::TpmReachable.fail("x", "y"), 1),
        ] {
            assert_eq!(Report::of(vec![finding]).exit_code(), exit);
        }
    }

    #[test]
    fn the_shape_of_the_json_is_fixed() {
        let text = Report::of(vec![
            Code::SiteSettings.ok("read"),
            Code::SiteBundle.fail("no \"bundle\"", "sign one"),
        ])
        .to_json()
        .unwrap();
        let begin = concat!(
            "{\n  \"doctor\": 1,\n  \"version\": \"0.1.0\",\n  \"exit_code\": 1,\n  \"findings\": [\n",
            "    {\n      \"code\": \"site.settings\",\n      \"state\": \"ok\",\n",
            "      \"found\": \"read\",\n      \"do\": null\n    },\n",
            "    {\n      \"code\": \"site.bundle\",\n      \"state\": \"fail\",\n",
            "      \"found\": \"no \\\"bundle\\\"\",\n      \"do\": \"sign one\"\n    },\n",
            "    {\n      \"code\": \"site.release\",\n      \"state\": \"unknown\",\n",
        );
        assert!(text.starts_with(begin), "{text}");
        assert!(text.ends_with("  ]\n}\n"), "{text}");
    }

    #[test]
    fn what_a_device_says_of_itself_does_not_reach_the_terminal_raw() {
        let text = Report::of(vec![Code::TpmIdentity.ok("evil \u{1b}[2J\nok  all")]).to_text();
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(text.lines().filter(|l| l.starts_with("ok")).count(), 1);
    }
}
