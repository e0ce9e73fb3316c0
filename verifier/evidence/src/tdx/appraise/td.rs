//! The trust domain: what it is allowed to do, what it is, and what it says.

use super::super::TdxCheck;
use super::super::body::{AttributeBit, TdAttributes, TdBody, Xfam};
use super::super::policy::{Features, Policy, SeptVe};
use super::super::types::{Measurement, ReportData};
use super::finding::{Finding, TwoReportData};
use super::{NO_QUOTE, NOT_NAMED, needs};
use crate::appraisal::Ledger;
use crate::eventlog::{CcLog, RTMR_COUNT};

pub(super) fn appraise(ledger: &mut Ledger<TdxCheck>, policy: &Policy, body: Option<&TdBody>) {
    appraise_attributes(ledger, policy, body);
    ledger.run(
        TdxCheck::TdXfam,
        needs(body, NO_QUOTE),
        |body| xfam(body.xfam(), policy.xfam),
        |xfam| format!("{xfam}"),
    );
    let earlier = if body.is_some() {
        NO_SUCH_FIELD
    } else {
        NO_QUOTE
    };
    ledger.run(
        TdxCheck::TdVmid,
        needs(body.and_then(TdBody::extended), earlier),
        |extended| match extended.vmid {
            0 => Ok(()),
            found => Err(Finding::Vmid { found }),
        },
        |()| "the trust domain itself".into(),
    );
    let with_services = body.filter(|body| body.later().is_some());
    ledger.run(
        TdxCheck::TdServiceTd,
        needs(with_services, earlier),
        service_domains,
        |()| "none is bound".into(),
    );
    appraise_measurements(ledger, policy, body);
    appraise_report_data(ledger, policy.report_data, body);
}

fn appraise_attributes(ledger: &mut Ledger<TdxCheck>, policy: &Policy, body: Option<&TdBody>) {
    let attributes = body.map(TdBody::attributes);
    let clear = |bits: &'static [AttributeBit]| {
        move |found: TdAttributes| match bits.iter().find(|bit| found.has(**bit)) {
            None => Ok(()),
            Some(bit) => Err(Finding::Attribute {
                found,
                what: bit.as_str(),
            }),
        }
    };
    ledger.run(
        TdxCheck::TdDebug,
        needs(attributes, NO_QUOTE),
        clear(&[AttributeBit::Debug]),
        |()| "cannot be debugged".into(),
    );
    ledger.run(
        TdxCheck::TdProfiling,
        needs(attributes, NO_QUOTE),
        clear(&[
            AttributeBit::HardwareGuide,
            AttributeBit::Performance,
            AttributeBit::Telemetry,
        ]),
        |()| "cannot be profiled".into(),
    );
    ledger.run(
        TdxCheck::TdMigratable,
        needs(attributes, NO_QUOTE),
        clear(&[AttributeBit::Migratable]),
        |()| "cannot be migrated".into(),
    );
    ledger.run(
        TdxCheck::TdReserved,
        needs(attributes, NO_QUOTE),
        |found| match found.reserved() {
            0 => Ok(()),
            reserved => Err(Finding::Reserved { found, reserved }),
        },
        |()| "none is set".into(),
    );
    ledger.run(
        TdxCheck::TdSeptVe,
        needs(attributes, NO_QUOTE),
        |found| match (found.has(AttributeBit::SeptVeDisable), policy.sept_ve) {
            (true, _) => Ok("SEPT_VE_DISABLE is set"),
            (false, SeptVe::AzureParavisor) => {
                Ok("SEPT_VE_DISABLE is not set: accepted of azure's paravisor")
            }
            (false, SeptVe::MustBeDisabled) => Err(Finding::SeptVe { found }),
        },
        |text| (*text).into(),
    );
    ledger.run(
        TdxCheck::TdFeatures,
        needs(attributes, NO_QUOTE),
        |found| {
            let refused = Features::ALL
                .iter()
                .find(|it| found.has(it.bit()) && !policy.features.contains(it));
            match refused {
                None => Ok(found),
                Some(feature) => Err(Finding::Feature {
                    found,
                    what: feature.bit().as_str(),
                }),
            }
        },
        |attributes| format!("attributes are {attributes}"),
    );
}

fn xfam(found: Xfam, accepted: Xfam) -> Result<Xfam, Finding> {
    if found.0 & Xfam::ALWAYS.0 != Xfam::ALWAYS.0 {
        return Err(Finding::XfamMissing { found });
    }
    if found.0 & !accepted.0 != 0 {
        return Err(Finding::XfamMore { found, accepted });
    }
    Ok(found)
}

/// No service domain is bound, nor was one at launch.
fn service_domains(body: &TdBody) -> Result<(), Finding> {
    let now = body.later().map(|it| ("MRSERVICETD", it.mrservicetd));
    let extended = body.extended().map(|it| {
        [
            ("INIT_SERVTD_HASH", it.initial_servicetd),
            ("CURR_SERVTD_HASH", it.current_servicetd),
        ]
    });
    let all = now.into_iter().chain(extended.into_iter().flatten());
    for (what, found) in all {
        if found != Measurement::ZERO {
            return Err(Finding::ServiceTd { what, found });
        }
    }
    Ok(())
}

fn appraise_measurements(ledger: &mut Ledger<TdxCheck>, policy: &Policy, body: Option<&TdBody>) {
    let [rtmr0, rtmr1, rtmr2, rtmr3] = &policy.rtmrs;
    let register = |index: usize| {
        move |body: &TdBody| {
            body.rtmrs()
                .get(index)
                .copied()
                .unwrap_or(Measurement::ZERO)
        }
    };
    type Get<'g> = &'g dyn Fn(&TdBody) -> Measurement;
    let all: [(TdxCheck, &'static str, &Option<Vec<Measurement>>, Get<'_>); 9] = [
        (
            TdxCheck::TdMrseam,
            "MRSEAM",
            &policy.mrseam,
            &TdBody::mrseam,
        ),
        (TdxCheck::TdMrtd, "MRTD", &policy.mrtd, &TdBody::mrtd),
        (
            TdxCheck::TdConfigId,
            "MRCONFIGID",
            &policy.mrconfigid,
            &TdBody::mrconfigid,
        ),
        (
            TdxCheck::TdOwner,
            "MROWNER",
            &policy.mrowner,
            &TdBody::mrowner,
        ),
        (
            TdxCheck::TdOwnerConfig,
            "MROWNERCONFIG",
            &policy.mrownerconfig,
            &TdBody::mrownerconfig,
        ),
        (TdxCheck::TdRtmr0, "RTMR0", rtmr0, &register(0)),
        (TdxCheck::TdRtmr1, "RTMR1", rtmr1, &register(1)),
        (TdxCheck::TdRtmr2, "RTMR2", rtmr2, &register(2)),
        (TdxCheck::TdRtmr3, "RTMR3", rtmr3, &register(3)),
    ];
    for (code, what, accepted, get) in all {
        let absent = if body.is_none() { NO_QUOTE } else { NOT_NAMED };
        ledger.run(
            code,
            needs(body.zip(accepted.as_ref()), absent),
            |(body, accepted)| {
                let found = get(body);
                if accepted.contains(&found) {
                    Ok(found)
                } else {
                    Err(Finding::Measurement {
                        what,
                        found,
                        accepted: accepted.len(),
                    })
                }
            },
            |found| format!("{found}"),
        );
    }
}

fn appraise_report_data(
    ledger: &mut Ledger<TdxCheck>,
    expected: Option<ReportData>,
    body: Option<&TdBody>,
) {
    let absent = if body.is_none() { NO_QUOTE } else { NOT_NAMED };
    ledger.run(
        TdxCheck::TdReportData,
        needs(body.zip(expected), absent),
        |(body, expected)| {
            let found = body.report_data();
            if found == ReportData::ZERO {
                Err(Finding::ReportDataZero)
            } else if found == expected {
                Ok(found)
            } else {
                Err(Finding::ReportData(Box::new(TwoReportData {
                    found,
                    expected,
                })))
            }
        },
        |found| format!("{found}, all 64 bytes"),
    );
}

pub(super) fn appraise_event_log(
    ledger: &mut Ledger<TdxCheck>,
    log: Option<&[u8]>,
    body: Option<&TdBody>,
) {
    let presented = log.is_some();
    let log = ledger.run(
        TdxCheck::EventLogForm,
        needs(log, NO_LOG),
        CcLog::parse,
        |log| format!("{} events", log.events().len()),
    );
    let absent = match (presented, body) {
        (false, _) => NO_LOG,
        (true, None) => NO_QUOTE,
        (true, Some(_)) => "the event log cannot be read",
    };
    ledger.run(
        TdxCheck::EventLogReplay,
        needs(log.zip(body), absent),
        |(log, body)| {
            for (index, (computed, quoted)) in log.rtmrs().iter().zip(body.rtmrs()).enumerate() {
                let computed = Measurement(*computed);
                if computed != *quoted {
                    return Err(Finding::Replay {
                        index,
                        computed,
                        quoted: *quoted,
                    });
                }
            }
            Ok(())
        },
        |()| format!("leads to all {RTMR_COUNT} registers"),
    );
}

const NO_SUCH_FIELD: &str = "this layout has no such field";
const NO_LOG: &str = "no event log is presented";
