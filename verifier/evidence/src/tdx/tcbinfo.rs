//! TCB info of TDX, version 3: what Intel says of every version of a family of platforms.
//!
//! In: the object as Intel signed it. Out: [`TcbInfo`]. Its members are exactly those of this version: one
//! more could change what the others mean.
//!
//! Source: Intel PCS API v4, "Get TDX TCB Info", `TcbInfoV3`.

use super::level::TcbStatus;
use super::types::{Fmspc, Measurement, PceId};
use crate::Moment;
use crate::json::{Fields, Json, JsonError};

/// Most levels of one list. Those seen have up to 20.
const MAX_LEVELS: usize = 256;

/// Most advisories of one level. Those seen have up to 30.
const MAX_ADVISORIES: usize = 256;

/// Longest name of an advisory, in bytes: `INTEL-SA-00837` has 14.
const MAX_ADVISORY_BYTES: usize = 64;

/// What an object says it is, whatever else it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) id: String,
    pub(super) version: u64,
}

/// TCB info of TDX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TcbInfo {
    pub(super) issued: Moment,
    pub(super) next: Moment,
    pub(super) fmspc: Fmspc,
    pub(super) pce_id: PceId,
    pub(super) evaluation: u32,
    /// The module of major version 0, whose versions the platform's levels count.
    pub(super) module: ModuleIdentity,
    /// Modules of later major versions, with levels of their own.
    pub(super) modules: Vec<Module>,
    pub(super) levels: Vec<PlatformLevel>,
}

/// Which modules are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModuleIdentity {
    pub(super) mrsigner: Measurement,
    pub(super) attributes: [u8; 8],
    pub(super) attributes_mask: [u8; 8],
}

/// Modules of one major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// `TDX_` and the major version in two hexadecimal digits.
    pub(super) id: String,
    pub(super) identity: ModuleIdentity,
    pub(super) levels: Vec<ModuleLevel>,
}

/// A level of a module or of the quoting enclave: up to date, out of date or revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModuleLevel {
    pub(super) isv_svn: u16,
    pub(super) said: Said,
}

/// A level of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlatformLevel {
    pub(super) sgx: [u8; 16],
    pub(super) tdx: [u8; 16],
    pub(super) pce_svn: u16,
    pub(super) said: Said,
}

/// What Intel says of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: TcbStatus,
    pub(super) date: Moment,
    pub(super) advisories: Vec<String>,
}

impl Kind {
    pub(super) fn of(json: &Json<'_>, object: &'static str) -> Result<Self, JsonError> {
        let mut fields = Fields::of(json, object)?;
        Ok(Self {
            id: fields.text("id")?.chars().take(40).collect(),
            version: fields.number("version")?,
        })
    }
}

impl TcbInfo {
    pub(super) fn of(json: &Json<'_>) -> Result<Self, JsonError> {
        let mut fields = Fields::of(json, "tcb info")?;
        fields.text("id")?;
        fields.number::<u64>("version")?;
        let info = Self {
            issued: moment(&mut fields, "issueDate")?,
            next: moment(&mut fields, "nextUpdate")?,
            fmspc: Fmspc(fields.hex("fmspc")?),
            pce_id: PceId(fields.hex("pceId")?),
            evaluation: fields.number("tcbEvaluationDataNumber")?,
            module: ModuleIdentity::of(&mut Fields::of(fields.take("tdxModule")?, "tdxModule")?)?,
            modules: match fields.optional("tdxModuleIdentities") {
                Some(list) => modules(fields.items(list, "tdxModuleIdentities")?)?,
                None => Vec::new(),
            },
            levels: platform_levels(fields.list("tcbLevels")?)?,
        };
        // 0: versions are compared component by component. There is no other way to compare.
        if fields.number::<u64>("tcbType")? != 0 {
            return Err(fields.wrong("tcbType", "0"));
        }
        fields.end()?;
        Ok(info)
    }
}

impl ModuleIdentity {
    fn of(fields: &mut Fields<'_, '_>) -> Result<Self, JsonError> {
        let identity = Self::among(fields)?;
        fields.end()?;
        Ok(identity)
    }

    fn among(fields: &mut Fields<'_, '_>) -> Result<Self, JsonError> {
        Ok(Self {
            mrsigner: Measurement(fields.hex("mrsigner")?),
            attributes: fields.hex("attributes")?,
            attributes_mask: fields.hex("attributesMask")?,
        })
    }
}

fn modules(list: &[Json<'_>]) -> Result<Vec<Module>, JsonError> {
    let mut modules: Vec<Module> = Vec::new();
    for json in list {
        let mut fields = Fields::of(json, "tdxModuleIdentities")?;
        let id = fields.text("id")?.to_owned();
        if modules.len() >= MAX_LEVELS || modules.iter().any(|known| known.id == id) {
            return Err(fields.wrong("id", "a new one"));
        }
        modules.push(Module {
            id,
            identity: ModuleIdentity::among(&mut fields)?,
            levels: module_levels(fields.list("tcbLevels")?)?,
        });
        fields.end()?;
    }
    Ok(modules)
}

/// Levels of a module or of the quoting enclave.
pub(super) fn module_levels(list: &[Json<'_>]) -> Result<Vec<ModuleLevel>, JsonError> {
    levels(list, |fields| {
        let mut tcb = Fields::of(fields.take("tcb")?, "tcb")?;
        let isv_svn = tcb.number("isvsvn")?;
        tcb.end()?;
        let said = Said::of(fields)?;
        let possible = [
            TcbStatus::UpToDate,
            TcbStatus::OutOfDate,
            TcbStatus::Revoked,
        ];
        if !possible.contains(&said.status) {
            return Err(fields.wrong("tcbStatus", "one of a module's or an enclave's"));
        }
        Ok(ModuleLevel { isv_svn, said })
    })
}

fn platform_levels(list: &[Json<'_>]) -> Result<Vec<PlatformLevel>, JsonError> {
    levels(list, |fields| {
        let mut tcb = Fields::of(fields.take("tcb")?, "tcb")?;
        let (sgx, tdx) = ("sgxtcbcomponents", "tdxtcbcomponents");
        let level = PlatformLevel {
            sgx: components(tcb.list(sgx)?, sgx)?,
            tdx: components(tcb.list(tdx)?, tdx)?,
            pce_svn: tcb.number("pcesvn")?,
            said: Said::of(fields)?,
        };
        tcb.end()?;
        let relaunch = [
            TcbStatus::TdRelaunchAdvised,
            TcbStatus::TdRelaunchAdvisedConfigurationNeeded,
        ];
        // These follow from two levels; none says so itself.
        if relaunch.contains(&level.said.status) {
            return Err(fields.wrong("tcbStatus", "one of a platform's"));
        }
        Ok(level)
    })
}

fn levels<'j, 'a, L>(
    list: &'j [Json<'a>],
    read: impl Fn(&mut Fields<'j, 'a>) -> Result<L, JsonError>,
) -> Result<Vec<L>, JsonError> {
    if list.len() > MAX_LEVELS {
        return Err(JsonError::Value {
            object: "tcbLevels",
            name: "itself",
            expected: "a list of at most 256 levels",
        });
    }
    list.iter()
        .map(|json| {
            let mut fields = Fields::of(json, "tcbLevels")?;
            let level = read(&mut fields)?;
            fields.end()?;
            Ok(level)
        })
        .collect()
}

/// Exactly sixteen components. What each is of stands beside its version in some; nothing follows from it.
fn components(list: &[Json<'_>], object: &'static str) -> Result<[u8; 16], JsonError> {
    let wrong = JsonError::Value {
        object,
        name: "itself",
        expected: "a list of sixteen components",
    };
    let versions = list
        .iter()
        .map(|json| {
            let mut fields = Fields::of(json, object)?;
            let svn = fields.number("svn")?;
            fields.optional("category");
            fields.optional("type");
            fields.end()?;
            Ok(svn)
        })
        .collect::<Result<Vec<u8>, JsonError>>()?;
    versions.try_into().map_err(|_| wrong)
}

impl Said {
    fn of(fields: &mut Fields<'_, '_>) -> Result<Self, JsonError> {
        let status = TcbStatus::parse(fields.text("tcbStatus")?)
            .ok_or(fields.wrong("tcbStatus", "a known status"))?;
        let advisories = match fields.optional("advisoryIDs") {
            Some(list) => advisories(fields.items(list, "advisoryIDs")?)?,
            None => Vec::new(),
        };
        Ok(Self {
            status,
            date: moment(fields, "tcbDate")?,
            advisories,
        })
    }
}

fn advisories(list: &[Json<'_>]) -> Result<Vec<String>, JsonError> {
    use crate::json::Value;
    let wrong = JsonError::Value {
        object: "tcbLevels",
        name: "advisoryIDs",
        expected: "a list of at most 256 names of at most 64 printable characters",
    };
    if list.len() > MAX_ADVISORIES {
        return Err(wrong);
    }
    list.iter()
        .map(|json| match &json.value {
            Value::Text(text)
                if text.len() <= MAX_ADVISORY_BYTES
                    && text.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(text.clone().into_owned())
            }
            Value::Text(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::List(_)
            | Value::Object(_) => Err(wrong.clone()),
        })
        .collect()
}

/// A date as Intel writes it: `2025-06-19T10:56:11Z`.
pub(super) fn moment(fields: &mut Fields<'_, '_>, name: &'static str) -> Result<Moment, JsonError> {
    let text = fields.text(name)?;
    date(text).ok_or(fields.wrong(name, "a date like 2025-06-19T10:56:11Z"))
}

fn date(text: &str) -> Option<Moment> {
    use countersign_certificates::der::{GENERALIZED_TIME, Reader};
    use countersign_certificates::time::certificate_time;

    let marks = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    let in_place = marks
        .iter()
        .all(|(at, mark)| text.get(*at..).is_some_and(|rest| rest.starts_with(*mark)));
    if text.len() != 20 || !in_place {
        return None;
    }
    // The calendar of certificates reads the same digits without the marks between.
    let digits: String = text
        .chars()
        .enumerate()
        .filter(|(at, _)| !marks.iter().any(|(mark, _)| mark == at))
        .map(|(_, character)| character)
        .collect();
    let der = [&[GENERALIZED_TIME, 15], digits.as_bytes()].concat();
    certificate_time(&mut Reader::new(&der), "date")
        .ok()
        .map(Moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_one_form() {
        assert_eq!(
            date("2026-03-04T05:06:07Z"),
            Some(Moment(1_772_600_767_000))
        );
        for text in [
            "",
            "2026-03-04T05:06:07",
            "2026-03-04 05:06:07Z",
            "2026-03-04T05:06:07+",
            "2026-02-29T05:06:07Z",
            "2026-3-04T005:06:07Z",
            "2026-03-04T05:06:07.0Z",
            "2026-03-04t05:06:07z",
            "+026-03-04T05:06:07Z",
            "20é6-03-04T05:06:07Z",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
