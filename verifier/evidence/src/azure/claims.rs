//! The runtime claims of a paravisor: the TPM's keys, the machine's configuration, the guest's bytes.
//!
//! In: JSON as it was hashed into the hardware's report. Out: every member by its type. Members that
//! are not known are named, not passed over: one of them may mean a weakness
//! ([`VmConfiguration::others`]), and a policy says which it accepts.
//!
//! Source: microsoft/openvmm, `get.rs` (`runtime_claims`); captures of 2023 to 2025. Claims of 2023
//! have no endorsement key and no `user-data`, and say `encrypt` where the attestation key signs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::json::{Fields, Json, JsonError, Value, hex_bytes};
use crate::tpm::{KeyError, PlainKey};

/// Runtime claims, well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeClaims {
    /// The key that signs quotes, `HCLAkPub`.
    pub attestation_key: ClaimedKey,
    /// The TPM's endorsement key, `HCLEkPub`; not in claims of 2023.
    pub endorsement_key: Option<ClaimedKey>,
    /// How the machine is set up.
    pub configuration: VmConfiguration,
    /// What the guest wrote into NV index 0x01400002, padded; `None` in claims of 2023.
    pub user_data: Option<[u8; 64]>,
    /// Members beside these, in the order of the text.
    pub others: Vec<String>,
}

/// A key as the claims name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedKey {
    /// The key.
    pub key: PlainKey,
    /// What the claims say it is for.
    pub operation: KeyOperation,
}

/// What a key is said to be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOperation {
    /// `sign`.
    Sign,
    /// `encrypt`, which claims of 2023 say of keys that sign.
    Encrypt,
}

/// How a machine is set up, as its paravisor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmConfiguration {
    /// Whether the firmware enforces Secure Boot.
    pub secure_boot: bool,
    /// Whether there is a TPM.
    pub tpm_enabled: bool,
    /// Whether the TPM's state outlives a boot; `None` where the paravisor does not say.
    pub tpm_persisted: Option<bool>,
    /// Whether there is a serial console.
    pub console_enabled: bool,
    /// Whether that console takes input; `None` where the paravisor does not say.
    pub interactive_console_enabled: Option<bool>,
    /// Whether some virtual PCI devices pass the paravisor's filter; `None` where it does not say.
    pub filtered_vpci_devices_allowed: Option<bool>,
    /// Hash of the certificate that the machine was provisioned with.
    pub root_cert_thumbprint: Option<String>,
    /// The machine's own number.
    pub vm_unique_id: VmId,
    /// The paravisor's clock, in seconds since 1970, which the host sets.
    pub current_time: Option<u64>,
    /// Members beside these, in the order of the text.
    pub others: Vec<String>,
}

/// A machine's `vmUniqueId`, in the order of its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId(pub [u8; 16]);

impl core::fmt::Display for VmId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl core::fmt::Debug for VmId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl VmId {
    /// Reads the text form: 8, 4, 4, 4 and 12 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        if !parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) {
            return None;
        }
        hex_bytes(&parts.concat())?.try_into().ok().map(Self)
    }
}

/// Why claims are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimsError {
    /// Not the JSON that is expected.
    #[error("runtime claims: {0}")]
    Json(#[from] JsonError),
    /// No key of this name, or more than one.
    #[error("runtime claims have {count} keys named {kid}, expected one")]
    Keys {
        /// Name of the key.
        kid: &'static str,
        /// How many.
        count: usize,
    },
    /// A key whose name is not known: what else it would vouch for cannot be said.
    #[error("runtime claims have a key that is neither HCLAkPub nor HCLEkPub")]
    UnknownKey,
    /// A key that is not accepted.
    #[error("runtime claims, key {kid}: {error}")]
    Key {
        /// Name of the key.
        kid: &'static str,
        /// Why.
        error: KeyError,
    },
    /// An attestation key of another length than paravisors make.
    #[error("runtime claims have an attestation key of {found}, expected rsa 2048 bits")]
    KeyLength {
        /// What it is.
        found: String,
    },
}

impl RuntimeClaims {
    /// Reads claims, all of the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ClaimsError> {
        let json = Json::parse(bytes)?;
        let mut claims = Fields::of(&json, "runtime claims")?;
        let mut keys = Vec::new();
        for item in claims.list("keys")? {
            let mut key = Fields::of(item, "key")?;
            keys.push((key.text("kid")?, key));
        }
        if keys.iter().any(|(kid, _)| *kid != AK && *kid != EK) {
            return Err(ClaimsError::UnknownKey);
        }
        let attestation_key = the_key(&keys, AK)?.ok_or(ClaimsError::Keys { kid: AK, count: 0 })?;
        let found = attestation_key.key.kind();
        if found != "rsa 2048 bits" {
            return Err(ClaimsError::KeyLength { found });
        }
        let configuration = claims.take("vm-configuration")?;
        let form = claims.wrong("user-data", "64 bytes in hexadecimal digits");
        let user_data = match claims.optional("user-data").map(|it| &it.value) {
            None => None,
            Some(Value::Text(text)) => {
                let bytes = hex_bytes(text).and_then(|bytes| bytes.try_into().ok());
                Some(bytes.ok_or(form)?)
            }
            Some(_) => return Err(form.into()),
        };
        Ok(Self {
            attestation_key,
            endorsement_key: the_key(&keys, EK)?,
            configuration: VmConfiguration::of(configuration)?,
            user_data,
            others: claims.names(),
        })
    }
}

impl VmConfiguration {
    fn of(json: &Json<'_>) -> Result<Self, JsonError> {
        let mut fields = Fields::of(json, "vm-configuration")?;
        let id = fields.text("vmUniqueId")?;
        Ok(Self {
            secure_boot: needed(flag(&mut fields, "secure-boot")?, "secure-boot")?,
            tpm_enabled: needed(flag(&mut fields, "tpm-enabled")?, "tpm-enabled")?,
            tpm_persisted: flag(&mut fields, "tpm-persisted")?,
            console_enabled: needed(flag(&mut fields, "console-enabled")?, "console-enabled")?,
            interactive_console_enabled: flag(&mut fields, "interactive-console-enabled")?,
            filtered_vpci_devices_allowed: flag(&mut fields, "filtered-vpci-devices-allowed")?,
            root_cert_thumbprint: match fields.optional("root-cert-thumbprint").map(|it| &it.value)
            {
                None => None,
                Some(Value::Text(text)) => Some(text.clone().into_owned()),
                Some(_) => return Err(fields.wrong("root-cert-thumbprint", "a string")),
            },
            vm_unique_id: VmId::parse(id).ok_or_else(|| {
                fields.wrong("vmUniqueId", "8, 4, 4, 4 and 12 hexadecimal digits")
            })?,
            current_time: match fields.optional("current-time").map(|it| &it.value) {
                None => None,
                Some(Value::Number(seconds)) => Some(*seconds),
                Some(_) => return Err(fields.wrong("current-time", "a number of seconds")),
            },
            others: fields.names(),
        })
    }
}

fn needed(value: Option<bool>, name: &'static str) -> Result<bool, JsonError> {
    let object = "vm-configuration";
    value.ok_or(JsonError::Missing { object, name })
}

fn flag(fields: &mut Fields<'_, '_>, name: &'static str) -> Result<Option<bool>, JsonError> {
    match fields.optional(name).map(|it| &it.value) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(fields.wrong(name, "true or false")),
    }
}

/// The one key of this name; none is `None`, two are an error.
fn the_key(
    keys: &[(&str, Fields<'_, '_>)],
    kid: &'static str,
) -> Result<Option<ClaimedKey>, ClaimsError> {
    let mut named = keys.iter().filter(|(found, _)| *found == kid);
    let first = named.next();
    match named.count() {
        0 => first.map(|(_, key)| claimed(key.clone(), kid)).transpose(),
        more => Err(ClaimsError::Keys {
            kid,
            count: more.saturating_add(1),
        }),
    }
}

/// A key as JWK (RFC 7517), `kid` taken already.
fn claimed(mut fields: Fields<'_, '_>, kid: &'static str) -> Result<ClaimedKey, ClaimsError> {
    if fields.text("kty")? != "RSA" {
        return Err(fields.wrong("kty", "RSA").into());
    }
    let operations: Vec<&Value<'_>> = fields.list("key_ops")?.iter().map(|it| &it.value).collect();
    let operation = match operations.as_slice() {
        [Value::Text(one)] if one == "sign" => KeyOperation::Sign,
        [Value::Text(one)] if one == "encrypt" => KeyOperation::Encrypt,
        _ => return Err(fields.wrong("key_ops", "one of sign and encrypt").into()),
    };
    let exponent = match number(&mut fields, "e")?.as_slice() {
        bytes if bytes.len() <= 8 => bytes
            .iter()
            .fold(0_u64, |n, byte| n.wrapping_shl(8) | u64::from(*byte)),
        _ => return Err(fields.wrong("e", "a number of at most 8 bytes").into()),
    };
    let modulus = number(&mut fields, "n")?;
    fields.end()?;
    let key = PlainKey::rsa(&modulus, exponent).map_err(|error| ClaimsError::Key { kid, error })?;
    Ok(ClaimedKey { key, operation })
}

/// Base64urlUInt (RFC 7518, 2): no padding, no leading zeros.
fn number(fields: &mut Fields<'_, '_>, name: &'static str) -> Result<Vec<u8>, JsonError> {
    let bytes = URL_SAFE_NO_PAD.decode(fields.text(name)?).ok();
    bytes
        .filter(|bytes| bytes.first().is_some_and(|byte| *byte != 0))
        .ok_or_else(|| fields.wrong(name, "a number in base64url without padding"))
}

/// Name of the attestation key in claims.
const AK: &str = "HCLAkPub";

/// Name of the endorsement key in claims.
const EK: &str = "HCLEkPub";
