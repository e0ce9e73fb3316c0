//! What evidence says of itself, as names and values. None of it is believed for standing here.

use super::report::{Line, Part, Said};
use countersign_evidence::azure::RuntimeClaims;
use countersign_evidence::eventlog::EventLog;
use countersign_evidence::snp::{Product, RawTcb, Report, Tcb};
use countersign_evidence::tdx::Claimed;

/// Fields of a report of AMD's.
pub(super) fn of_snp(report: &Report) -> Vec<Said> {
    let processor = report.processor();
    let product = processor.and_then(Product::of_processor);
    let tcb = |raw: RawTcb| match product.map(|p| Tcb::parse(raw, p)) {
        Some(Ok(tcb)) => tcb.to_string(),
        // Reports before version 3 do not say of which product they are.
        Some(Err(_)) | None => raw.to_string(),
    };
    let mut out = vec![
        Said::new("version", report.version()),
        Said::new(
            "processor",
            processor.map_or_else(|| "not said".to_owned(), |p| p.to_string()),
        ),
        Said::new("vmpl", report.vmpl().0),
        Said::new("guest policy", format!("{:#x}", report.policy().0)),
        Said::new("platform", format!("{:#x}", report.platform().0)),
        Said::new("measurement", hex::encode(report.measurement())),
        Said::new("report data", hex::encode(report.report_data())),
        Said::new("host data", hex::encode(report.host_data())),
        Said::new("id key", hex::encode(report.id_key_digest())),
        Said::new("author key", hex::encode(report.author_key_digest())),
        Said::new("chip", report.chip_id()),
        Said::new("tcb, reported", tcb(report.reported_tcb())),
        Said::new("tcb, committed", tcb(report.committed_tcb())),
        Said::new("tcb, current", tcb(report.current_tcb())),
        Said::new("tcb, at launch", tcb(report.launch_tcb())),
        Said::new("firmware, committed", report.committed_firmware()),
        Said::new("firmware, current", report.current_firmware()),
        Said::new("guest svn", report.guest_svn()),
    ];
    if let Some(mitigations) = report.mitigations() {
        out.push(Said::new(
            "mitigations, at launch",
            format!("{:#x}", mitigations.launch),
        ));
        out.push(Said::new(
            "mitigations, current",
            format!("{:#x}", mitigations.current),
        ));
    }
    out
}

/// Fields of a quote of Intel's.
pub(super) fn of_tdx(claimed: &Claimed) -> Vec<Said> {
    let body = claimed.body();
    let mut out = vec![
        Said::new("MRTD", body.mrtd()),
        Said::new("report data", body.report_data()),
    ];
    for (register, value) in (0_u8..).zip(body.rtmrs()) {
        out.push(Said::new(format!("RTMR{register}"), value));
    }
    out
}

/// What Azure's paravisor says of the machine.
pub(super) fn of_claims(claims: &RuntimeClaims) -> Vec<Said> {
    let configuration = &claims.configuration;
    let maybe = |flag: Option<bool>| flag.map_or_else(|| "not said".to_owned(), |f| f.to_string());
    let mut out = vec![
        Said::new("machine", configuration.vm_unique_id),
        Said::new("secure boot", configuration.secure_boot),
        Said::new("tpm", configuration.tpm_enabled),
        Said::new("tpm persisted", maybe(configuration.tpm_persisted)),
        Said::new("console", configuration.console_enabled),
    ];
    if let Some(data) = claims.user_data {
        out.push(Said::new("user data", hex::encode(data)));
    }
    if !claims.others.is_empty() {
        out.push(Said::new("other members", claims.others.join(", ")));
    }
    out
}

/// A log by itself.
pub(super) fn of_log(bytes: &[u8]) -> Part {
    let (outcome, reason, says) = match EventLog::parse(bytes) {
        Ok(log) => {
            let says = (0_u8..24)
                .map(|index| Said::new(format!("PCR {index}"), hex::encode(log.pcr(index))))
                .collect();
            let reason = format!(
                "{} events; nobody signed what they lead to",
                log.events().len()
            );
            ("pass", reason, says)
        }
        Err(error) => ("fail", error.to_string(), Vec::new()),
    };
    Part {
        title: "Event log",
        checks: vec![Line {
            code: "tpm.eventlog.structure".to_owned(),
            outcome: outcome.to_owned(),
            reason,
            rule: false,
        }],
        says,
    }
}
