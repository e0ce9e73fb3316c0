//! Collateral from vendors' services: what they say of this machine's processor, fetched once and kept in the site.
//!
//! In: a report of the machine ([`Shown`]), where the services are, what the site keeps already, whose rules count. Out:
//! endorsements that belong to this report, or why there are none. Nothing that a service gives replaces what is there before
//! it was appraised together with the report, by the code of `countersign-verify evidence`: a service that gives another
//! machine's, or an old one's, or nonsense, changes nothing.
//!
//! AMD's key server limits how often it is asked (429): then it is asked again after what it says, a few times. What the site
//! keeps of the chip is not fetched again while it fits.
//!
//! | module | whose service |
//! |---|---|
//! | [`amd`] | Key Distribution Service |
//! | [`intel`] | Provisioning Certification Service |
//!
//! `docs/decisions/0037-collateral-pull.md` says why. The real services were never asked.

pub mod amd;
pub mod intel;

use crate::collateral::Collateral;
use crate::fetch::{self, Answer, Question};
use crate::output;
use anyhow::{Context as _, bail, ensure};
use countersign_record::digest::UnixMillis;
use countersign_record::evidence::EndorsementKind;
use countersign_verify::bare::{Asked, Bare, Given, Line, Piece, judge, pieces};
use countersign_verify::trust::Trust;
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Longest answer of a service, in bytes (2 MiB), which is the longest file that a site keeps.
const MAX_ANSWER_BYTES: usize = 2 * 1024 * 1024;

/// Longest wait for one answer.
const WAIT: Duration = Duration::from_secs(30);

/// How often a service is asked that says that it is asked too often.
const TRIES: u32 = 5;

/// Shortest and longest pause before it is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Endorsements by their kinds.
pub type Endorsed = BTreeMap<EndorsementKind, Vec<u8>>;

/// Where services are.
#[derive(Debug, Clone, Copy)]
pub struct Services<'a> {
    /// AMD's key server: scheme and authority.
    pub amd: &'a str,
    /// Intel's service of collateral: scheme and authority.
    pub intel: &'a str,
    /// The revocation list of Intel's root: scheme and authority, and path.
    pub intel_root_crl: &'a str,
}

/// How services are asked. Fakes in tests stand behind it.
pub trait Net {
    /// One answer: no redirect, and bounded.
    ///
    /// # Errors
    /// If there is none.
    fn get(&self, service: &str, path: &str) -> anyhow::Result<Answer>;

    /// Waits before a service is asked again.
    fn pause(&self, time: Duration);
}

/// The network.
pub struct Network<'a> {
    /// Certificates that those of services over TLS must lead to.
    pub ca: Option<&'a Path>,
    /// What waits for answers.
    pub runtime: tokio::runtime::Runtime,
}

impl Net for Network<'_> {
    fn get(&self, service: &str, path: &str) -> anyhow::Result<Answer> {
        self.runtime.block_on(fetch::ask(&Question {
            service,
            ca: self.ca,
            method: Method::GET,
            path,
            headers: &[],
            body: Vec::new(),
            limit: MAX_ANSWER_BYTES,
            wait: WAIT,
        }))
    }

    fn pause(&self, time: Duration) {
        output::line(format_args!(
            "countersign: the service is asked too often, by everybody behind this address; again in {} seconds",
            time.as_secs()
        ));
        self.runtime.block_on(tokio::time::sleep(time));
    }
}

/// Asks until the service does not say that it is asked too often; an answer with another status than 200 is none.
pub(crate) fn get(net: &impl Net, service: &str, path: &str) -> anyhow::Result<Answer> {
    let mut pause = PAUSES.0;
    for _ in 1..TRIES {
        let answer = net.get(service, path)?;
        if answer.status != StatusCode::TOO_MANY_REQUESTS {
            answer.good(service).with_context(|| path.to_owned())?;
            return Ok(answer);
        }
        let told = answer.headers.get(http::header::RETRY_AFTER);
        let told = told.and_then(|t| t.to_str().ok()?.parse().ok());
        let told = told.map_or(pause, Duration::from_secs);
        net.pause(told.clamp(PAUSES.0, PAUSES.1));
        pause = pause.saturating_mul(2);
    }
    let answer = net.get(service, path)?;
    ensure!(
        answer.status != StatusCode::TOO_MANY_REQUESTS,
        "{service} says that it is asked too often (429), {TRIES} times: wait some minutes, or fetch {path} elsewhere and \
         give it to `countersign collateral import`"
    );
    answer.good(service).with_context(|| path.to_owned())?;
    Ok(answer)
}

/// What the machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A report of SEV-SNP.
    Snp(Vec<u8>),
    /// A quote of TDX.
    Tdx(Vec<u8>),
}

impl Shown {
    /// Reads what files hold: a report, a quote, or a paravisor's report with one of SEV-SNP inside.
    ///
    /// # Errors
    /// If there is none of it, or more than one.
    pub fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut found = pieces(bytes)?.into_iter().filter_map(|piece| match piece {
            Piece::SnpReport(report) => Some(Ok(Self::Snp(report))),
            Piece::TdxQuote(quote) => Some(Ok(Self::Tdx(quote))),
            Piece::Paravisor(report) => Some(Self::in_paravisor(&report)),
            Piece::Certificate(_)
            | Piece::Crl(_)
            | Piece::Collateral(_)
            | Piece::TcbInfo(_)
            | Piece::QeIdentity(_)
            | Piece::Quote(_)
            | Piece::Signature(_)
            | Piece::RawSignature(_)
            | Piece::Registers(_)
            | Piece::TpmPublic(_)
            | Piece::Spki(_)
            | Piece::EventLog(_) => None,
        });
        match (found.next(), found.next()) {
            (Some(one), None) => one,
            (None, _) => bail!("it has no report of a processor"),
            (Some(_), Some(_)) => bail!("it has two reports of a processor: give one"),
        }
    }

    /// The report of SEV-SNP within a paravisor's: 1184 bytes after a header of 32. Source: `docs/spec/azure.md`.
    ///
    /// # Errors
    /// If there is none.
    pub fn in_paravisor(report: &[u8]) -> anyhow::Result<Self> {
        let inside = report.get(32..).and_then(|rest| rest.get(..1184));
        let is_snp = report.get(1224..1228) == Some(&[2, 0, 0, 0]);
        match inside.filter(|_| is_snp) {
            Some(inside) => Ok(Self::Snp(inside.to_vec())),
            None => bail!(
                "the paravisor's report has none of SEV-SNP inside; for TDX give the quote, which the host's service makes"
            ),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Snp(bytes) | Self::Tdx(bytes) => bytes,
        }
    }
}

/// Whose word counts.
pub struct Judge<'a> {
    /// A trust file, with its name; the vendors' own roots without one.
    pub trust: Option<&'a (String, Trust)>,
    /// The time.
    pub now: UnixMillis,
}

/// What was fetched, and what an auditor would say against it.
#[derive(Debug)]
pub struct Pulled {
    /// Endorsements, by their kinds.
    pub endorsed: Endorsed,
    /// What rules of the trust file are broken.
    pub against: Vec<String>,
}

/// Fetches what belongs to a report, and appraises it with that report.
///
/// # Errors
/// If a service does not give it, or what it gives does not belong to the report.
pub fn pull(
    net: &impl Net,
    services: Services<'_>,
    shown: &Shown,
    kept: &Collateral,
    judge: &Judge<'_>,
) -> anyhow::Result<Pulled> {
    let endorsed = match shown {
        Shown::Snp(report) => {
            let there = amd::There {
                chip: judge.fitting(shown, kept),
                key: kept.get(EndorsementKind::AmdVek).map(<[u8]>::to_vec),
            };
            amd::fetch(net, services.amd, report, there)?
        }
        Shown::Tdx(quote) => intel::fetch(net, services, quote)?,
    };
    let bare = judge.of(shown, &endorsed).context(FOREIGN)?;
    let failed =
        |rule| lines(&bare).filter(move |line| line.outcome == "fail" && line.rule == rule);
    let forged: Vec<String> = failed(false).map(said).collect();
    ensure!(forged.is_empty(), "{FOREIGN}: {}", forged.join("; "));
    let against = failed(true).map(said).collect();
    Ok(Pulled { endorsed, against })
}

/// What is said of answers that do not fit.
const FOREIGN: &str =
    "what the services gave does not belong to this machine's report, and nothing was replaced";

fn lines(bare: &Bare) -> impl Iterator<Item = &Line> {
    bare.parts.iter().flat_map(|part| &part.checks)
}

fn said(line: &Line) -> String {
    format!("{}: {}", line.code, line.reason)
}

impl Judge<'_> {
    fn of(&self, shown: &Shown, endorsed: &Endorsed) -> anyhow::Result<Bare> {
        let mut files = vec![Given {
            path: "report".to_owned(),
            bytes: shown.bytes().to_vec(),
        }];
        for (kind, bytes) in endorsed {
            // Both of Intel's answers have one chain.
            if *kind != EndorsementKind::IntelQeIdentityChain {
                files.push(Given {
                    path: kind.to_string(),
                    bytes: bytes.clone(),
                });
            }
        }
        let asked = Asked {
            trust: self.trust.cloned(),
            reference: None,
            report_data: None,
            nonce: None,
            now: self.now,
        };
        Ok(judge(&files, &asked)?)
    }

    /// What the site keeps of the chip that made a report, if nothing speaks against it.
    fn fitting(&self, shown: &Shown, kept: &Collateral) -> Option<Endorsed> {
        let chip: Endorsed = kept
            .iter()
            .filter(|(kind, _)| amd::OF_CHIP.contains(kind))
            .map(|(kind, bytes)| (kind, bytes.to_vec()))
            .collect();
        if chip.len() != amd::OF_CHIP.len() {
            return None;
        }
        let bare = self.of(shown, &chip).ok()?;
        // The list is fetched in any case.
        let speaks = |line: &Line| line.code != "snp.chain.revocation" && !line.rule;
        let fails = lines(&bare).any(|line| line.outcome == "fail" && speaks(line));
        (!fails).then_some(chip)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use countersign_devices::snp::{Draft, Kind, Product};
    use http::HeaderMap;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    /// A time at which everything that fakes make is valid.
    pub(crate) const NOW: UnixMillis = UnixMillis(1_770_000_000_000);

    pub(crate) const SERVICES: Services<'_> = Services {
        amd: "https://amd",
        intel: "https://intel",
        intel_root_crl: "https://root/list.der",
    };

    /// Services that give answers by their addresses, each in turn and then the last again.
    #[derive(Default)]
    pub(crate) struct Fake {
        answers: RefCell<BTreeMap<String, VecDeque<Answer>>>,
        pub(crate) asked: RefCell<Vec<String>>,
        pub(crate) paused: RefCell<Vec<u64>>,
    }

    pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: body.to_vec().into(),
        }
    }

    impl Fake {
        pub(crate) fn at(self, address: &str, answer: Answer) -> Self {
            let mut answers = self.answers.borrow_mut();
            answers
                .entry(address.to_owned())
                .or_default()
                .push_back(answer);
            drop(answers);
            self
        }
    }

    impl Net for Fake {
        fn get(&self, service: &str, path: &str) -> anyhow::Result<Answer> {
            let address = format!("{service}{path}");
            self.asked.borrow_mut().push(address.clone());
            let mut answers = self.answers.borrow_mut();
            let Some(known) = answers.get_mut(&address) else {
                return Ok(answer(404, &[], b""));
            };
            let first = known[0].clone();
            if known.len() > 1 {
                known.pop_front();
            }
            Ok(first)
        }

        fn pause(&self, time: Duration) {
            self.paused.borrow_mut().push(time.as_secs());
        }
    }

    fn busy(after: Option<&str>) -> Answer {
        let headers: Vec<(&str, &str)> = after.map(|a| ("retry-after", a)).into_iter().collect();
        answer(429, &headers, b"")
    }

    #[test]
    fn a_service_that_is_asked_too_often_is_left_in_peace_for_as_long_as_it_says() {
        let net = Fake::default()
            .at("s/p", busy(None))
            .at("s/p", busy(Some("7")))
            .at("s/p", busy(Some("4000")))
            .at("s/p", busy(Some("Thu, 26 Nov 2026 08:00:00 GMT")))
            .at("s/p", answer(200, &[], b"good"));
        assert_eq!(get(&net, "s", "/p").unwrap().body, "good");
        assert_eq!(*net.paused.borrow(), [2, 7, 60, 16]);
    }

    #[test]
    fn a_service_that_stays_busy_is_given_up_with_what_to_do() {
        let net = Fake::default().at("s/p", busy(None));
        let told = format!("{:#}", get(&net, "s", "/p").unwrap_err());
        assert!(
            told.contains("429") && told.contains("collateral import"),
            "{told}"
        );
        assert_eq!(net.asked.borrow().len(), 5);
        assert_eq!(*net.paused.borrow(), [2, 4, 8, 16]);
        let gone = format!("{:#}", get(&net, "s", "/q").unwrap_err());
        assert!(gone.contains("404"), "{gone}");
        assert_eq!(net.paused.borrow().len(), 4);
    }

    #[test]
    fn a_report_is_found_in_the_forms_in_which_people_have_it() {
        let report = Draft::new(Product::Genoa, Kind::Vcek).build().report;
        let snp = Shown::Snp(report.clone());
        assert_eq!(Shown::read(&report).unwrap(), snp);
        assert_eq!(Shown::read(hex::encode(&report).as_bytes()).unwrap(), snp);
        let hcl = |kind| {
            countersign_devices::azure::Report::around(report.clone(), kind, b"{}").to_bytes()
        };
        assert_eq!(Shown::read(&hcl(2)).unwrap(), snp);
        let told = Shown::read(&hcl(4)).unwrap_err().to_string();
        assert!(told.contains("give the quote"), "{told}");
        assert!(Shown::in_paravisor(&hcl(2)[..1200]).is_err());
        let certificate = Draft::new(Product::Genoa, Kind::Vcek).build().key;
        assert!(Shown::read(&certificate).is_err());
    }
}
