//! Identity of the quoting enclave for trust domains, version 2.
//!
//! In: the object as Intel signed it. Out: [`QeIdentity`]. Its members are exactly those of this version.
//!
//! Source: Intel PCS API v4, "Get Enclave Identity", `EnclaveIdentityV2`.

use super::tcbinfo::{ModuleLevel, module_levels, moment};
use super::types::EnclaveMeasurement;
use crate::Moment;
use crate::json::{Fields, Json, JsonError};

/// Which enclaves are quoting enclaves, and what is known of their versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QeIdentity {
    pub(super) issued: Moment,
    pub(super) next: Moment,
    pub(super) evaluation: u32,
    pub(super) misc_select: [u8; 4],
    pub(super) misc_select_mask: [u8; 4],
    pub(super) attributes: [u8; 16],
    pub(super) attributes_mask: [u8; 16],
    pub(super) mrsigner: EnclaveMeasurement,
    pub(super) isv_prod_id: u16,
    pub(super) levels: Vec<ModuleLevel>,
}

impl QeIdentity {
    pub(super) fn of(json: &Json<'_>) -> Result<Self, JsonError> {
        let mut fields = Fields::of(json, "qe identity")?;
        fields.text("id")?;
        fields.number::<u64>("version")?;
        // MISCSELECT is written as a number, most significant byte first; a report has it lowest first.
        let number = |fields: &mut Fields<'_, '_>, name| {
            fields.hex::<4>(name).map(|mut bytes| {
                bytes.reverse();
                bytes
            })
        };
        let identity = Self {
            issued: moment(&mut fields, "issueDate")?,
            next: moment(&mut fields, "nextUpdate")?,
            evaluation: fields.number("tcbEvaluationDataNumber")?,
            misc_select: number(&mut fields, "miscselect")?,
            misc_select_mask: number(&mut fields, "miscselectMask")?,
            attributes: fields.hex("attributes")?,
            attributes_mask: fields.hex("attributesMask")?,
            mrsigner: EnclaveMeasurement(fields.hex("mrsigner")?),
            isv_prod_id: fields.number("isvprodid")?,
            levels: module_levels(fields.list("tcbLevels")?)?,
        };
        fields.end()?;
        Ok(identity)
    }
}

/// Whether bytes are the wanted ones, where the mask looks.
pub(super) fn fits<const N: usize>(found: [u8; N], wanted: [u8; N], mask: [u8; N]) -> bool {
    found
        .iter()
        .zip(wanted)
        .zip(mask)
        .all(|((found, wanted), mask)| found & mask == wanted)
}
