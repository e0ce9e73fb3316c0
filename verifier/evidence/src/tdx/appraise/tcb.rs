//! What the versions of platform, module and quoting enclave are worth.

use super::super::body::TdBody;
use super::super::enclave::EnclaveReport;
use super::super::identity::{QeIdentity, fits};
use super::super::level::{TcbStatus, major, minor, module_level, platform_level, versions};
use super::super::pck::PckExtension;
use super::super::policy::{Flag, Policy};
use super::super::tcbinfo::{Module, ModuleIdentity, Said, TcbInfo};
use super::super::types::{Ppid, TeeTcbSvn};
use super::super::{PlatformTcb, TdxCheck};
use super::finding::Finding;
use super::{Context, NO_CHAIN, NO_QUOTE, NO_STATEMENT, NOT_NAMED, needs, statements};
use crate::Moment;
use crate::appraisal::Ledger;

/// What there is to compare.
pub(super) struct Seen<'s> {
    pub(super) body: Option<&'s TdBody>,
    pub(super) report: Option<&'s EnclaveReport>,
    pub(super) pck: Option<&'s PckExtension>,
    pub(super) said: &'s statements::Said,
}

/// Levels that versions reached.
struct Matched<'s> {
    /// Of each version of the body: platform, and module if its versions have levels of their own.
    launches: Vec<(&'s Said, Option<&'s Said>)>,
    enclave: &'s Said,
}

pub(super) fn appraise(
    ledger: &mut Ledger<TdxCheck>,
    context: &Context<'_>,
    seen: &Seen<'_>,
) -> Option<PlatformTcb> {
    let enclave = appraise_enclave(ledger, seen);
    let modules = appraise_module(ledger, seen);
    let platforms = appraise_platform(ledger, seen);
    ledger.run(
        TdxCheck::TcbFloor,
        needs(
            seen.body.zip(context.policy.tee_tcb_floor),
            if seen.body.is_none() {
                NO_QUOTE
            } else {
                NOT_NAMED
            },
        ),
        |(body, floor)| match versions(body).into_iter().find(|it| !reaches(*it, floor)) {
            None => Ok(floor),
            Some(found) => Err(Finding::Floor { found, floor }),
        },
        |floor| format!("{floor} or later"),
    );
    let matched = platforms
        .zip(modules)
        .zip(enclave)
        .map(|((platforms, modules), enclave)| Matched {
            launches: platforms.into_iter().zip(modules).collect(),
            enclave,
        });
    let status = matched.as_ref().map(Matched::status);
    let kept = ledger.run(
        TdxCheck::TcbRevoked,
        needs(status, NO_LEVEL),
        |status| match status {
            TcbStatus::Revoked => Err(Finding::Revoked),
            kept @ (TcbStatus::UpToDate
            | TcbStatus::SwHardeningNeeded
            | TcbStatus::ConfigurationNeeded
            | TcbStatus::ConfigurationAndSwHardeningNeeded
            | TcbStatus::OutOfDate
            | TcbStatus::OutOfDateConfigurationNeeded
            | TcbStatus::TdRelaunchAdvised
            | TcbStatus::TdRelaunchAdvisedConfigurationNeeded) => Ok(kept),
        },
        |status| format!("{status}"),
    );
    let absent = if status.is_some() { REVOKED } else { NO_LEVEL };
    ledger.run(
        TdxCheck::TcbStatus,
        needs(matched.as_ref().zip(kept), absent),
        |(matched, status)| accepted(matched, status, context.policy, context.at),
        Clone::clone,
    );
    let advisories = matched.as_ref().map(Matched::advisories);
    ledger.run(
        TdxCheck::TcbAdvisories,
        needs(advisories.as_ref(), NO_LEVEL),
        |advisories| {
            let denied = &context.policy.denied_advisories;
            let found: Vec<String> = advisories
                .iter()
                .filter(|it| denied.contains(it))
                .cloned()
                .collect();
            if found.is_empty() {
                Ok(advisories)
            } else {
                Err(Finding::Advisories { found })
            }
        },
        |advisories| match advisories.as_slice() {
            [] => "none concerns the platform".into(),
            some => format!(
                "none that is refused; {} concern the platform",
                some.join(", ")
            ),
        },
    );
    appraise_identity_of_platform(ledger, context.policy, seen.pck);
    let said = seen.said.info.as_ref().zip(seen.said.identity.as_ref());
    matched.zip(said).zip(seen.said.lists_until).map(
        |((matched, (info, identity)), lists_until)| PlatformTcb {
            status: matched.status(),
            advisories: matched.advisories(),
            date: matched
                .all()
                .map(|said| said.date)
                .min()
                .unwrap_or(Moment(0)),
            evaluation: info.evaluation,
            current_until: lists_until.min(info.next).min(identity.next),
        },
    )
}

fn appraise_enclave<'s>(ledger: &mut Ledger<TdxCheck>, seen: &Seen<'s>) -> Option<&'s Said> {
    let both = || {
        let absent = if seen.report.is_none() {
            NO_QUOTE
        } else {
            NO_STATEMENT
        };
        needs(seen.report.zip(seen.said.identity.as_ref()), absent)
    };
    ledger.run(
        TdxCheck::QeSigner,
        both(),
        |(report, identity): (&EnclaveReport, &QeIdentity)| {
            let (found, expected) = (report.mrsigner(), identity.mrsigner);
            if found == expected {
                Ok(found)
            } else {
                Err(Finding::QeSigner { found, expected })
            }
        },
        |found| format!("{found}"),
    );
    ledger.run(
        TdxCheck::QeProduct,
        both(),
        |(report, identity)| {
            let (found, expected) = (report.isv_prod_id(), identity.isv_prod_id);
            if found == expected {
                Ok(found)
            } else {
                Err(Finding::QeProduct { found, expected })
            }
        },
        |found| format!("{found}"),
    );
    ledger.run(
        TdxCheck::QeMiscSelect,
        both(),
        |(report, it)| {
            let found = report.misc_select();
            masked("MISCSELECT", found, it.misc_select, it.misc_select_mask)
        },
        |()| "as the identity says".into(),
    );
    ledger.run(
        TdxCheck::QeAttributes,
        both(),
        |(report, it)| {
            masked(
                "ATTRIBUTES",
                report.attributes(),
                it.attributes,
                it.attributes_mask,
            )
        },
        |()| "as the identity says".into(),
    );
    let level = ledger.run(
        TdxCheck::QeTcb,
        both(),
        |(report, identity)| {
            let found = report.isv_svn();
            module_level(&identity.levels, found).ok_or(Finding::QeLevel { found })
        },
        |level| format!("{} of level {}", level.said.status, level.isv_svn),
    );
    level.map(|level| &level.said)
}

fn masked<const N: usize>(
    what: &'static str,
    found: [u8; N],
    expected: [u8; N],
    mask: [u8; N],
) -> Result<(), Finding> {
    if fits(found, expected, mask) {
        return Ok(());
    }
    Err(Finding::QeMasked {
        what,
        found: found.to_vec(),
        expected: expected.to_vec(),
        mask: mask.to_vec(),
    })
}

/// Modules of a major version above 0.
fn later_module(info: &TcbInfo, svn: TeeTcbSvn) -> Result<Option<&Module>, Finding> {
    let major = major(svn);
    if major == 0 {
        return Ok(None);
    }
    let id = format!("TDX_{major:02X}");
    let module = info.modules.iter().find(|module| module.id == id);
    module.map(Some).ok_or(Finding::NoModule { major })
}

fn appraise_module<'s>(
    ledger: &mut Ledger<TdxCheck>,
    seen: &Seen<'s>,
) -> Option<Vec<Option<&'s Said>>> {
    let both = || {
        let absent = if seen.body.is_none() {
            NO_QUOTE
        } else {
            NO_STATEMENT
        };
        needs(seen.body.zip(seen.said.info.as_ref()), absent)
    };
    ledger.run(
        TdxCheck::ModuleIdentity,
        both(),
        |(body, info)| {
            for svn in versions(body) {
                let module = later_module(info, svn)?;
                module_is(body, module.map_or(&info.module, |module| &module.identity))?;
            }
            Ok::<_, Finding>(())
        },
        |()| "one that the tcb info names".into(),
    );
    ledger.run(
        TdxCheck::ModuleTcb,
        both(),
        |(body, info)| {
            versions(body)
                .into_iter()
                .map(|svn| match later_module(info, svn)? {
                    None => Ok(None),
                    Some(module) => module_level(&module.levels, minor(svn).into())
                        .map(|level| Some(&level.said))
                        .ok_or(Finding::ModuleLevel { found: svn }),
                })
                .collect::<Result<Vec<_>, _>>()
        },
        |levels| match levels.first() {
            Some(Some(said)) => format!("{} since {}", said.status, said.date),
            Some(None) | None => "versions of this module are the platform's".into(),
        },
    )
}

fn module_is(body: &TdBody, identity: &ModuleIdentity) -> Result<(), Finding> {
    let (found, expected) = (body.mrsignerseam(), identity.mrsigner);
    if found != expected {
        return Err(Finding::ModuleSigner { found, expected });
    }
    let found = body.seam_attributes();
    let (expected, mask) = (identity.attributes, identity.attributes_mask);
    if fits(found, expected, mask) {
        Ok(())
    } else {
        Err(Finding::ModuleAttributes {
            found,
            expected,
            mask,
        })
    }
}

fn appraise_platform<'s>(ledger: &mut Ledger<TdxCheck>, seen: &Seen<'s>) -> Option<Vec<&'s Said>> {
    let absent = match (seen.body, seen.pck) {
        (None, _) => NO_QUOTE,
        (Some(_), None) => NO_CHAIN,
        (Some(_), Some(_)) => NO_STATEMENT,
    };
    ledger.run(
        TdxCheck::PlatformTcb,
        needs(seen.body.zip(seen.pck).zip(seen.said.info.as_ref()), absent),
        |((body, pck), info)| {
            versions(body)
                .into_iter()
                .map(|tee| {
                    platform_level(info, pck, tee)
                        .map(|level| &level.said)
                        .ok_or(Finding::PlatformLevel {
                            components: pck.components(),
                            pce_svn: pck.pce_svn(),
                            tee,
                        })
                })
                .collect::<Result<Vec<_>, _>>()
        },
        |levels| match levels.first() {
            Some(said) => format!("{} since {}", said.status, said.date),
            None => String::new(),
        },
    )
}

impl<'s> Matched<'s> {
    /// Every level, in the order platform, module, and at last the quoting enclave.
    fn all(&self) -> impl Iterator<Item = &'s Said> {
        self.launches
            .iter()
            .flat_map(|(platform, module)| core::iter::once(*platform).chain(*module))
            .chain(core::iter::once(self.enclave))
    }

    fn status(&self) -> TcbStatus {
        let mut launches = self.launches.iter().map(|(platform, module)| {
            let status = platform.status;
            module.map_or(status, |module| status.with(module.status))
        });
        // A body states one version at least.
        let launch = launches.next().unwrap_or(TcbStatus::Revoked);
        let platform = launches.fold(launch, TcbStatus::launched);
        platform.with(self.enclave.status)
    }

    fn advisories(&self) -> Vec<String> {
        let mut advisories = Vec::new();
        for advisory in self.all().flat_map(|said| &said.advisories) {
            if !advisories.contains(advisory) {
                advisories.push(advisory.clone());
            }
        }
        advisories
    }
}

/// Whether a status is accepted, and what to say of it.
fn accepted(
    matched: &Matched<'_>,
    found: TcbStatus,
    policy: &Policy,
    at: Moment,
) -> Result<String, Finding> {
    let refused = || Finding::Status {
        found,
        accepted: policy.statuses.clone(),
    };
    if policy.statuses.contains(&found) {
        return Ok(format!("{found}"));
    }
    let grown_into = match found {
        TcbStatus::OutOfDate => TcbStatus::UpToDate,
        TcbStatus::OutOfDateConfigurationNeeded => TcbStatus::ConfigurationNeeded,
        TcbStatus::UpToDate
        | TcbStatus::SwHardeningNeeded
        | TcbStatus::ConfigurationNeeded
        | TcbStatus::ConfigurationAndSwHardeningNeeded
        | TcbStatus::TdRelaunchAdvised
        | TcbStatus::TdRelaunchAdvisedConfigurationNeeded
        | TcbStatus::Revoked => return Err(refused()),
    };
    // The oldest of the levels that lack updates.
    let since = matched
        .all()
        .filter(|said| said.status.is_out_of_date())
        .map(|said| said.date)
        .min()
        .ok_or_else(refused)?;
    let until = since.later(policy.grace);
    if !policy.grace.is_zero() && at <= until && policy.statuses.contains(&grown_into) {
        Ok(format!("{found} since {since}, accepted until {until}"))
    } else {
        Err(refused())
    }
}

/// A later major version is a later module; within one, and for all else, no byte may be lower.
fn reaches(found: TeeTcbSvn, floor: TeeTcbSvn) -> bool {
    let module = (major(found), minor(found)) >= (major(floor), minor(floor));
    let rest = found
        .0
        .iter()
        .zip(floor.0)
        .skip(2)
        .all(|(found, floor)| *found >= floor);
    module && rest
}

fn appraise_identity_of_platform(
    ledger: &mut Ledger<TdxCheck>,
    policy: &Policy,
    pck: Option<&PckExtension>,
) {
    ledger.run(
        TdxCheck::PlatformFlags,
        needs(pck, NO_CHAIN),
        |pck| {
            let (found, wanted) = (pck.flags(), policy.flags);
            let all = [
                (
                    "dynamic platform",
                    found.dynamic_platform,
                    wanted.dynamic_platform,
                ),
                ("cached keys", found.cached_keys, wanted.cached_keys),
                ("smt", found.smt, wanted.smt),
            ];
            // What nobody says may be on.
            let refused = all
                .iter()
                .find(|(_, flag, wanted)| *wanted == Flag::MustBeOff && *flag != Some(false));
            match refused {
                None => Ok(found),
                Some((what, _, _)) => Err(Finding::Flag { what, found }),
            }
        },
        |flags| format!("{flags}"),
    );
    let is_named = policy.platforms.is_some() || !policy.denied_platforms.is_empty();
    let absent = if pck.is_none() { NO_CHAIN } else { NOT_NAMED };
    ledger.run(
        TdxCheck::PlatformId,
        needs(pck.filter(|_| is_named), absent),
        |pck| platform_is(pck.ppid(), policy),
        |ppid| format!("{ppid}"),
    );
}

fn platform_is(found: Ppid, policy: &Policy) -> Result<Ppid, Finding> {
    if policy.denied_platforms.contains(&found) {
        return Err(Finding::PlatformDenied { found });
    }
    match &policy.platforms {
        Some(platforms) if !platforms.contains(&found) => Err(Finding::PlatformUnknown {
            found,
            accepted: platforms.len(),
        }),
        Some(_) | None => Ok(found),
    }
}

const REVOKED: &str = "it was revoked, which no policy accepts";

const NO_LEVEL: &str = "not all of platform, module and quoting enclave have a level";
