//! The TPM, and what its state survives.
//!
//! In: whether it could be asked, and its [`Survey`]; the release policy that the site has; the sealed keys that the
//! state directory has. Out: findings `tpm.*`.

use super::{Code, Finding};
use countersign_platform::policy::ReleasePolicy;
use countersign_platform::{Detected, Kept, Machine, Profile, Survey, TpmError};
use countersign_verify::bare::{EventLog, tpm_persisted};
use std::io::ErrorKind;

/// Whether the TPM could be asked.
pub enum Asked {
    /// The settings do not say where it is.
    NoAddress,
    /// A gateway runs here, and its TPM has one client at a time.
    Held {
        /// Where it is.
        address: String,
    },
    /// It does not answer, and nobody said where the state directory is: a gateway may have it.
    Busy {
        /// Where it is.
        address: String,
    },
    /// It could not be asked.
    Failed {
        /// Where it was looked for.
        address: String,
        /// Why.
        error: TpmError,
    },
    /// It answered.
    Found {
        /// Where it is.
        address: String,
        /// What it said.
        survey: Box<Survey>,
    },
}

impl Asked {
    /// What it said, if it did.
    #[must_use]
    pub fn survey(&self) -> Option<&Survey> {
        match self {
            Self::Found { survey, .. } => Some(survey),
            Self::NoAddress | Self::Held { .. } | Self::Busy { .. } | Self::Failed { .. } => None,
        }
    }

    /// What the machine is where there is no TPM, and nothing but its processor reports.
    #[must_use]
    pub fn without_tpm(&self, machine: Machine) -> Option<Detected> {
        match self {
            Self::Failed {
                error:
                    TpmError::Unreachable {
                        cause: ErrorKind::NotFound,
                        ..
                    },
                ..
            } => Profile::without_tpm(machine),
            Self::NoAddress
            | Self::Held { .. }
            | Self::Busy { .. }
            | Self::Failed { .. }
            | Self::Found { .. } => None,
        }
    }
}

/// All that begins with `tpm.`.
#[must_use]
pub fn findings(
    asked: &Asked,
    release: Option<&ReleasePolicy>,
    sealed: bool,
    machine: Machine,
) -> Vec<Finding> {
    if let Some(found) = asked.without_tpm(machine) {
        return alone(found, sealed);
    }
    let mut out = vec![reachable(asked)];
    match asked.survey() {
        Some(survey) => out.extend(answered(survey, release, sealed)),
        None => out
            .extend(rest().map(|code| code.unknown("the TPM was not asked", "see tpm.reachable"))),
    }
    out
}

/// Every line but whether the TPM answers.
fn rest() -> impl Iterator<Item = Code> {
    let all = Code::ALL.iter().copied();
    all.filter(|code| *code > Code::TpmReachable && *code <= Code::TpmPersistence)
}

/// A processor that reports, on a machine without a TPM: each start of a gateway is a gateway of its own.
fn alone(Detected { profile, why }: Detected, sealed: bool) -> Vec<Finding> {
    let reachable = Code::TpmReachable.warn(
        "there is no TPM: nothing keeps a gateway's keys, and nobody certifies its counter",
        "if the machine should have one, enable it (Azure, Google Cloud: Shielded VM); a verifier cannot tell what rests on a counter",
    );
    let found = if sealed {
        Code::TpmProfile.fail(
            format!("{profile}: {why}; and the state directory has keys that a TPM sealed"),
            "give the machine its TPM back, or serve from another state directory",
        )
    } else {
        Code::TpmProfile.warn(
            format!("{profile}: {why}; identity, keys, log and count live for one boot"),
            "governance enrols each start by the enrol-request.cbor that it writes; calls are refused until then",
        )
    };
    let rest = rest().map(|code| {
        if code == Code::TpmProfile {
            found.clone()
        } else {
            code.ok("there is no TPM")
        }
    });
    std::iter::once(reachable).chain(rest).collect()
}

fn reachable(asked: &Asked) -> Finding {
    let code = Code::TpmReachable;
    match asked {
        Asked::NoAddress => code.unknown(
            "the settings could not be read, so nobody knows where the TPM is",
            "mend the settings",
        ),
        Asked::Held { address } => code.unknown(
            format!("{address} belongs to the gateway that runs here; a software TPM has one client at a time"),
            "stop the gateway and ask again, or use a device of the kernel's resource manager, which is shared",
        ),
        Asked::Busy { address } => code.unknown(
            format!("{address} does not answer: somebody talks to it, perhaps the gateway"),
            "name the state directory with --state, so that it shows whether the gateway runs",
        ),
        Asked::Found { address, .. } if address.contains("/dev/tpm") && !address.contains("tpmrm") => code.warn(
            format!("{address} answers, but it is not the one of the kernel's resource manager"),
            "set tpm.address to device:/dev/tpmrm0: the other has one client at a time and leaves handles behind",
        ),
        Asked::Found { address, .. } => code.ok(format!("{address} answers")),
        Asked::Failed { error, .. } => code.fail(error.to_string(), why_not(error)),
    }
}

/// What to do where nothing answers, by what the operating system says.
const UNREACHABLE: [(ErrorKind, &str); 4] = [
    (
        ErrorKind::NotFound,
        "this machine has no such device: enable the TPM in the firmware or give the virtual machine one (Azure: a \
         confidential machine, or Trusted Launch), load the kernel's driver (tpm_crb, tpm_tis), and compare \
         tpm.address in countersign.toml with the devices /dev/tpmrm*",
    ),
    (
        ErrorKind::PermissionDenied,
        "this user may not open it: add the gateway's user to the group of the device (often tss), and run doctor as \
         that user",
    ),
    (
        ErrorKind::ResourceBusy,
        "another program holds it: use the device of the kernel's resource manager, /dev/tpmrm0",
    ),
    (
        ErrorKind::ConnectionRefused,
        "no software TPM listens there: start it with `countersign swtpm`, or name another tpm.address",
    ),
];

/// What to do about a TPM that could not be asked.
fn why_not(error: &TpmError) -> &'static str {
    match error {
        TpmError::Unreachable { cause, .. } => {
            UNREACHABLE.iter().find(|(known, _)| known == cause).map_or(
                "compare tpm.address in countersign.toml with what this machine has",
                |(_, advice)| advice,
            )
        }
        TpmError::Transport {
            cause: ErrorKind::WouldBlock | ErrorKind::TimedOut,
            ..
        } => {
            "it does not answer: another program talks to it (a gateway with another state directory?). A software \
             TPM has one client at a time; stop the other one"
        }
        TpmError::Transport { .. } | TpmError::Malformed { .. } | TpmError::Forged { .. } => {
            "what is there is no TPM 2.0, or something stands between: see the kernel's log (dmesg, tpm)"
        }
        TpmError::Refused { .. } => {
            "it is there and refuses: restart the machine; if that does not help, clear the TPM in the firmware \
             (which destroys sealed keys)"
        }
        TpmError::ForeignStorageKey { .. }
        | TpmError::Replaced
        | TpmError::Entropy
        | TpmError::Stopped
        | TpmError::TooManyBytes { .. } => "restart the machine and ask again",
    }
}

fn answered(survey: &Survey, release: Option<&ReleasePolicy>, sealed: bool) -> Vec<Finding> {
    vec![
        Code::TpmIdentity.ok(format!(
            "maker {}, calls itself {:?}, firmware {}",
            survey.manufacturer,
            survey.vendor.trim(),
            survey.firmware
        )),
        profile(survey),
        authorization(survey),
        registers(survey, release),
        clock(survey),
        event_log(survey),
        storage_key(survey, sealed),
        counter(survey, sealed),
        floor(survey, release, sealed),
        persistence(survey, sealed),
    ]
}

fn profile(survey: &Survey) -> Finding {
    let code = Code::TpmProfile;
    if let Err(error) = &survey.paravisor {
        return code.fail(
            format!("the index of a paravisor's report is there and cannot be read: {error}"),
            "the owner reads it: clear the owner authorization of the TPM",
        );
    }
    let Detected { profile, why } = survey.detected;
    let found = format!("{profile}: {why}");
    match profile {
        Profile::Swtpm => code.warn(
            format!("{found}; no hardware vouches for this gateway"),
            "for development alone; in production set tpm.address to a device",
        ),
        Profile::Tpm => code.ok(found),
        Profile::AzureSnp | Profile::AzureTdx if !survey.platform_key => code.fail(
            format!("{found}; but its attestation key is not at 0x81000003"),
            "restart the machine: the paravisor makes it anew",
        ),
        Profile::AzureSnp => code.ok(format!("{found}, and its key is there")),
        Profile::AzureTdx => code.ok(format!(
            "{found}, and its key is there; the quote is asked for at the start, of the host's service at 169.254.169.254"
        )),
        Profile::GcpSnp | Profile::GcpTdx if !survey.google_key => code.fail(
            format!("{found}; but the TPM has no key of Google's with its certificate (NV indices 0x01c10000 to 0x01c10003)"),
            "make the machine with a virtual TPM (Shielded VM) anew: without that key nobody says whose TPM it is",
        ),
        Profile::GcpSnp | Profile::GcpTdx => {
            code.ok(format!("{found}; Google's key and its certificate are in the TPM"))
        }
        // A TPM was asked, so it is none of these.
        Profile::Snp | Profile::Tdx => code.unknown(found, "ask again"),
    }
}

fn authorization(survey: &Survey) -> Finding {
    let code = Code::TpmAuthorization;
    if survey.endorsement_locked {
        return code.fail(
            "an endorsement authorization is set: the attestation key cannot be made",
            "clear it: tpm2_changeauth -c e with the authorization that is set",
        );
    }
    if survey.owner_locked {
        return code.warn(
            "an owner authorization is set: what is there can be used, but no storage key, counter or floor can be made",
            "clear it before the first start: tpm2_changeauth -c o with the authorization that is set",
        );
    }
    if survey.in_lockout {
        return code.warn(
            "it is locked out after wrong authorizations of somebody's; ours are not subject to it",
            "find out which program guesses: tpm2_getcap properties-variable",
        );
    }
    code.ok("no authorization of owner or endorsement is set")
}

fn registers(survey: &Survey, release: Option<&ReleasePolicy>) -> Finding {
    let code = Code::TpmRegisters;
    let Some(found) = &survey.registers else {
        return code.fail(
            format!("the SHA-256 bank has no PCR {}", list(&survey.unallocated)),
            "allocate the bank: tpm2_pcrallocate sha256:all, or in the firmware, and restart the machine",
        );
    };
    let Some(release) = release else {
        return code.unknown(
            "the SHA-256 bank is allocated; there is no release policy to compare values with",
            "see site.release",
        );
    };
    let differing = release.pcrs.differing(found);
    if differing.is_empty() {
        code.ok(format!(
            "SHA-256 bank allocated; PCRs {} are those of release {}",
            list(&release.pcrs.set().iter().collect::<Vec<_>>()),
            release.sequence
        ))
    } else {
        code.fail(
            format!("PCR {} is not what release {} boots to: keys stay sealed", list(&differing), release.sequence),
            "boot the approved image with its own command line and Secure Boot state, or have the vendor approve \
             what booted (`countersign release sign`)",
        )
    }
}

fn clock(survey: &Survey) -> Finding {
    let code = Code::TpmClock;
    let clock = survey.clock;
    let counts = format!(
        "reset {}, restart {}",
        clock.reset_count, clock.restart_count
    );
    if clock.safe {
        code.ok(format!("safe; {counts}"))
    } else if survey.owner_locked {
        code.fail(
            format!("not safe after an unclean shutdown; {counts}"),
            "wait until the TPM saves it by itself (up to an hour), or clear the owner authorization: the gateway \
             then sets it forward",
        )
    } else {
        code.warn(
            format!("not safe after an unclean shutdown; {counts}"),
            "nothing: the gateway sets it forward when it starts",
        )
    }
}

fn event_log(survey: &Survey) -> Finding {
    let code = Code::TpmEventLog;
    let bytes = match &survey.event_log {
        Ok(Some(bytes)) => bytes,
        Ok(None) if survey.detected.profile == Profile::Swtpm => {
            return code.ok("a software TPM has none");
        }
        Ok(None) => {
            return code.warn(
                "the kernel shows none: the evidence names registers, and not what was measured into them",
                "mount securityfs (/sys/kernel/security), and boot by UEFI with measured boot",
            );
        }
        Err(error) => {
            return code.fail(
                error.to_string(),
                "let the gateway's user read /sys/kernel/security/tpm0/binary_bios_measurements, and run doctor as \
                 that user",
            );
        }
    };
    let log = match EventLog::parse(bytes) {
        Ok(log) => log,
        Err(error) => {
            return code.warn(
                format!("{} bytes that cannot be read: {error}", bytes.len()),
                "a verifier will say the same; look for a firmware update",
            );
        }
    };
    let events = log.events().len();
    let Some(found) = &survey.registers else {
        return code.unknown(format!("{events} events"), "see tpm.registers");
    };
    // What user space measures later (11, 12 …) is not in this log.
    let other: Vec<u8> = found
        .iter()
        .filter(|(index, value)| *index < 8 && log.pcr(*index) != **value)
        .map(|(index, _)| index)
        .collect();
    if other.is_empty() {
        code.ok(format!(
            "{events} events, which lead to PCRs 0 to 7 as they are"
        ))
    } else {
        code.warn(
            format!("{events} events, which lead to other values of PCR {}", list(&other)),
            "something was measured that the log does not have; restart the machine and look at the firmware",
        )
    }
}

fn storage_key(survey: &Survey, sealed: bool) -> Finding {
    let code = Code::TpmStorageKey;
    match (survey.storage_key, sealed) {
        (Kept::InUse | Kept::Unwritten, _) => code.ok("there, at 0x81000001"),
        (Kept::Missing, false) => code.ok("none yet: the first start makes it"),
        (Kept::Missing, true) => code.fail(
            "gone, though keys were sealed under it: the TPM was cleared, or is another one",
            "continue on this machine as a new gateway (docs/keys.md, \"A machine that is gone\")",
        ),
        (Kept::Foreign, _) => code.fail(
            "0x81000001 holds a key that is no storage key with an empty password made by this TPM",
            "find out which program made it; remove it with tpm2_evictcontrol if nothing needs it",
        ),
    }
}

/// Whether an index is as a gateway left it, or as one finds it before its first start.
fn index(code: Code, what: &str, kept: Option<Kept>, sealed: bool) -> Option<Finding> {
    let foreign = "another program has the index, or the release key has changed: name the release key under which \
                   this machine was set up";
    match (kept, sealed) {
        (None, _) => Some(code.unknown(
            format!("{what}: without a release key nobody knows which one is ours"),
            "see site.settings",
        )),
        (Some(Kept::Foreign), _) => {
            Some(code.fail(format!("{what}: the index is not ours"), foreign))
        }
        (Some(Kept::Missing | Kept::Unwritten), true) => Some(code.fail(
            format!("{what}: gone, though this gateway has sealed keys; the TPM was cleared, or is another one"),
            "continue as a new gateway (docs/keys.md, \"A machine that is gone\")",
        )),
        (Some(Kept::Missing | Kept::Unwritten), false) => {
            Some(code.ok(format!("{what}: none yet, the first start makes it")))
        }
        (Some(Kept::InUse), _) => None,
    }
}

fn counter(survey: &Survey, sealed: bool) -> Finding {
    let code = Code::TpmCounter;
    index(code, "epoch counter", survey.counter, sealed)
        .unwrap_or_else(|| code.ok("epoch counter: there; only an approved release reads it"))
}

fn floor(survey: &Survey, release: Option<&ReleasePolicy>, sealed: bool) -> Finding {
    let code = Code::TpmFloor;
    if let Some(finding) = index(code, "release floor", survey.floor, sealed) {
        return finding;
    }
    match (survey.floor_value, release) {
        (Some(floor), Some(release)) if floor > release.sequence => code.fail(
            format!(
                "release floor is {floor}, above this release {}: keys stay sealed",
                release.sequence
            ),
            format!("install a release from {floor} on; the floor never goes down"),
        ),
        (Some(floor), Some(release)) => code.ok(format!(
            "release floor is {floor}, this release is {}",
            release.sequence
        )),
        (Some(floor), None) => {
            code.unknown(format!("release floor is {floor}"), "see site.release")
        }
        (None, _) => code.unknown("release floor could not be read", "ask again"),
    }
}

fn persistence(survey: &Survey, sealed: bool) -> Finding {
    let code = Code::TpmPersistence;
    let report = survey.paravisor.as_ref().ok().and_then(Option::as_deref);
    if survey.detected.profile == Profile::Swtpm {
        return code.warn(
            "a software TPM's state is files: whoever has them can put back older ones",
            "for development alone",
        );
    }
    let Some(report) = report else {
        return if sealed && survey.storage_key == Kept::InUse {
            code.ok("no paravisor says otherwise, and the storage key of earlier starts is there")
        } else {
            code.ok("no paravisor says otherwise; a TPM of hardware keeps its state, a virtual one if its host does")
        };
    };
    match tpm_persisted(report) {
        Ok(Some(true)) => code.ok("tpm-persisted: true, says the paravisor; its claim is bound to the processor's report"),
        Ok(Some(false)) => code.fail(
            "tpm-persisted: false, says the paravisor: sealed keys and counter are lost with the next start",
            "make the machine anew with securityEncryptionType VMGuestStateOnly or DiskWithVMGuestState, not \
             NonPersistedTPM",
        ),
        Ok(None) => code.warn(
            "the paravisor does not say whether the TPM's state persists",
            "look at securityEncryptionType of the machine: it must not be NonPersistedTPM",
        ),
        Err(error) => code.fail(
            format!("the paravisor's report cannot be read: {error}"),
            "a verifier will refuse it too; keep it for a report to us (tpm2_nvread 0x01400001)",
        ),
    }
}

fn list(indices: &[u8]) -> String {
    let indices: Vec<String> = indices.iter().map(u8::to_string).collect();
    indices.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use countersign_platform::TpmClock;
    use countersign_platform::processor::Technology;
    use countersign_verify::bare::{Piece, pieces};
    use std::fs;
    use std::path::Path;

    fn detected(profile: Profile) -> Detected {
        Detected {
            profile,
            why: "a test says so",
        }
    }

    /// A device in good order, which a gateway has used.
    fn good() -> Survey {
        Survey {
            detected: detected(Profile::Tpm),
            vendor: "SLB9670".to_owned(),
            manufacturer: "IFX".to_owned(),
            firmware: "7.85.17.51968".to_owned(),
            owner_locked: false,
            endorsement_locked: false,
            in_lockout: false,
            unallocated: Vec::new(),
            registers: None,
            clock: TpmClock {
                clock_ms: 1,
                reset_count: 2,
                restart_count: 3,
                safe: true,
            },
            storage_key: Kept::InUse,
            storage_key_name: Some([1; 34]),
            floor: Some(Kept::InUse),
            floor_value: Some(4),
            counter: Some(Kept::InUse),
            paravisor: Ok(None),
            platform_key: false,
            google_key: false,
            event_log: Ok(None),
        }
    }

    fn look(survey: Survey, sealed: bool, code: Code) -> Finding {
        let asked = Asked::Found {
            address: "device:/dev/tpmrm0".to_owned(),
            survey: Box::new(survey),
        };
        let mut found = findings(&asked, None, sealed, Machine::default());
        let at = found.iter().position(|f| f.code == code).unwrap();
        found.swap_remove(at)
    }

    fn paravisor(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifier/evidence/vectors/azure");
        let found = pieces(&fs::read(path.join(name)).unwrap()).unwrap();
        let report = found.into_iter().find(|p| matches!(p, Piece::Paravisor(_)));
        report.unwrap().into_bytes()
    }

    #[test]
    fn a_tpm_that_nobody_asked_is_unknown_in_every_line() {
        let found = findings(&Asked::NoAddress, None, false, Machine::default());
        assert_eq!(found.len(), 11);
        assert!(found.iter().all(|f| f.state == State::Unknown));
        let error = TpmError::Unreachable {
            address: "device /dev/tpmrm0".to_owned(),
            cause: ErrorKind::NotFound,
        };
        let address = "device:/dev/tpmrm0".to_owned();
        let failed = Asked::Failed { address, error };
        let alone = Machine {
            technology: Some(Technology::Tdx),
            google: false,
        };
        let stands = |sealed, code| {
            let found = findings(&failed, None, sealed, alone);
            assert_eq!(found.len(), 11);
            found.into_iter().find(|f| f.code == code).unwrap()
        };
        assert_eq!(stands(false, Code::TpmReachable).state, State::Warn);
        assert_eq!(stands(false, Code::TpmCounter).state, State::Ok);
        let profile = stands(false, Code::TpmProfile);
        assert_eq!(profile.state, State::Warn);
        assert!(
            profile.found.starts_with("tdx: there is no TPM"),
            "{profile:?}"
        );
        // Another gateway's keys are not gone round.
        assert_eq!(stands(true, Code::TpmProfile).state, State::Fail);
        let missing = findings(&failed, None, false, Machine::default());
        assert_eq!(missing[0].state, State::Fail);
        assert!(
            missing[0]
                .advice
                .as_deref()
                .unwrap()
                .contains("enable the TPM in the firmware")
        );
        assert!(missing[1..].iter().all(|f| f.state == State::Unknown));
    }

    #[test]
    fn each_reason_why_a_tpm_cannot_be_asked_has_its_own_advice() {
        let unreachable = |cause| TpmError::Unreachable {
            address: String::new(),
            cause,
        };
        let advice = [
            why_not(&unreachable(ErrorKind::NotFound)),
            why_not(&unreachable(ErrorKind::PermissionDenied)),
            why_not(&unreachable(ErrorKind::ResourceBusy)),
            why_not(&unreachable(ErrorKind::ConnectionRefused)),
            why_not(&TpmError::Transport {
                command: "",
                cause: ErrorKind::WouldBlock,
            }),
            why_not(&TpmError::Refused {
                command: "",
                code: 0x120,
            }),
        ];
        for (at, one) in advice.iter().enumerate() {
            assert!(!advice[at + 1..].contains(one), "{one}");
        }
    }

    #[test]
    fn a_tpm_whose_state_dies_with_the_machine_fails() {
        let with = |report| Survey {
            detected: detected(Profile::AzureSnp),
            platform_key: true,
            paravisor: Ok(Some(report)),
            ..good()
        };
        let lost = look(
            with(paravisor("trustee-tdx/evidence-v1.json")),
            false,
            Code::TpmPersistence,
        );
        assert!(
            lost.state == State::Fail && lost.found.contains("false"),
            "{lost:?}"
        );
        let silent = look(
            with(paravisor("trustee-snp/evidence-v0.json")),
            false,
            Code::TpmPersistence,
        );
        assert_eq!(silent.state, State::Warn, "{silent:?}");
        let broken = look(with(b"HCLA".to_vec()), false, Code::TpmPersistence);
        assert_eq!(broken.state, State::Fail, "{broken:?}");
        assert_eq!(look(good(), true, Code::TpmPersistence).state, State::Ok);
    }

    #[test]
    fn what_was_there_and_is_gone_fails_and_what_was_never_made_does_not() {
        let cleared = || Survey {
            storage_key: Kept::Missing,
            storage_key_name: None,
            floor: Some(Kept::Missing),
            floor_value: None,
            counter: Some(Kept::Missing),
            ..good()
        };
        for code in [Code::TpmStorageKey, Code::TpmCounter, Code::TpmFloor] {
            assert_eq!(look(cleared(), true, code).state, State::Fail, "{code}");
            assert_eq!(look(cleared(), false, code).state, State::Ok, "{code}");
        }
        let foreign = || Survey {
            storage_key: Kept::Foreign,
            floor: Some(Kept::Foreign),
            counter: Some(Kept::Foreign),
            ..good()
        };
        for code in [Code::TpmStorageKey, Code::TpmCounter, Code::TpmFloor] {
            assert_eq!(look(foreign(), false, code).state, State::Fail, "{code}");
        }
    }

    #[test]
    fn a_profile_that_cannot_open_an_epoch_fails() {
        let azure = |profile, platform_key| Survey {
            detected: detected(profile),
            platform_key,
            paravisor: Ok(Some(Vec::new())),
            ..good()
        };
        let google = |profile, google_key| Survey {
            detected: detected(profile),
            google_key,
            ..good()
        };
        let state = |survey| look(survey, false, Code::TpmProfile).state;
        assert_eq!(state(good()), State::Ok);
        for profile in [Profile::AzureSnp, Profile::AzureTdx] {
            assert_eq!(state(azure(profile, true)), State::Ok);
            assert_eq!(state(azure(profile, false)), State::Fail);
        }
        for profile in [Profile::GcpSnp, Profile::GcpTdx] {
            assert_eq!(state(google(profile, true)), State::Ok);
            assert_eq!(state(google(profile, false)), State::Fail);
        }
        let software = Survey {
            detected: detected(Profile::Swtpm),
            ..good()
        };
        assert_eq!(state(software), State::Warn);
    }

    #[test]
    fn what_keeps_keys_from_being_made_is_named() {
        let owner = Survey {
            owner_locked: true,
            ..good()
        };
        let endorsement = Survey {
            endorsement_locked: true,
            ..good()
        };
        let unallocated = Survey {
            unallocated: vec![4, 7],
            ..good()
        };
        assert_eq!(
            look(owner, false, Code::TpmAuthorization).state,
            State::Warn
        );
        assert_eq!(
            look(endorsement, false, Code::TpmAuthorization).state,
            State::Fail
        );
        let bank = look(unallocated, false, Code::TpmRegisters);
        assert!(
            bank.state == State::Fail && bank.found.contains("4, 7"),
            "{bank:?}"
        );
    }

    #[test]
    fn an_unsafe_clock_fails_only_where_the_gateway_cannot_set_it() {
        let unsafe_clock = |owner_locked| Survey {
            clock: TpmClock {
                safe: false,
                ..good().clock
            },
            owner_locked,
            ..good()
        };
        assert_eq!(
            look(unsafe_clock(false), false, Code::TpmClock).state,
            State::Warn
        );
        assert_eq!(
            look(unsafe_clock(true), false, Code::TpmClock).state,
            State::Fail
        );
    }

    #[test]
    fn an_event_log_that_cannot_be_read_fails_and_one_that_is_missing_is_a_word() {
        let with = |event_log| Survey {
            event_log,
            ..good()
        };
        let denied = Err(countersign_platform::PolicyError::EventLog {
            cause: ErrorKind::PermissionDenied,
        });
        assert_eq!(
            look(with(denied), false, Code::TpmEventLog).state,
            State::Fail
        );
        assert_eq!(
            look(with(Ok(None)), false, Code::TpmEventLog).state,
            State::Warn
        );
        let torn = Ok(Some(vec![1, 2, 3]));
        assert_eq!(
            look(with(torn), false, Code::TpmEventLog).state,
            State::Warn
        );
    }

    /// A release of this number for registers 0 to 7 and those of the profile, all with this value.
    fn release(sequence: u64, value: u8) -> ReleasePolicy {
        use countersign_platform::policy::{ReleaseKey, ReleaseSignature};
        use p256::elliptic_curve::sec1::ToSec1Point as _;
        let key = p256::SecretKey::from_slice(&[7; 32]).unwrap().public_key();
        ReleasePolicy {
            pcrs: registers_of(|_| [value; 32]),
            sequence,
            release_key: ReleaseKey::parse(key.to_sec1_point(false).as_bytes()).unwrap(),
            signature: ReleaseSignature {
                r: [1; 32],
                s: [1; 32],
            },
        }
    }

    fn registers_of(value: impl Fn(u8) -> [u8; 32]) -> countersign_platform::PcrValues {
        let indices = (0..8).chain([11, 12, 13]);
        countersign_platform::PcrValues::new(indices.map(|i| (i, value(i)))).unwrap()
    }

    fn under(survey: Survey, release: &ReleasePolicy, code: Code) -> Finding {
        let found = answered(&survey, Some(release), true);
        found.into_iter().find(|f| f.code == code).unwrap()
    }

    #[test]
    fn another_boot_and_a_floor_above_the_release_keep_keys_sealed() {
        let booted = || Survey {
            registers: Some(registers_of(|_| [5; 32])),
            ..good()
        };
        let same = under(booted(), &release(4, 5), Code::TpmRegisters);
        assert_eq!(same.state, State::Ok, "{same:?}");
        let other = under(booted(), &release(4, 6), Code::TpmRegisters);
        assert!(
            other.state == State::Fail && other.found.contains("4, 5, 6, 7, 11"),
            "{other:?}"
        );
        let floor = |sequence| under(booted(), &release(sequence, 5), Code::TpmFloor);
        assert_eq!(floor(4).state, State::Ok);
        let below = floor(3);
        assert!(
            below.state == State::Fail && below.found.contains("floor is 4"),
            "{below:?}"
        );
    }

    #[test]
    fn an_event_log_is_compared_with_what_the_machine_booted_to() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifier/evidence/vectors/eventlog");
        let bytes = fs::read(path.join("coreos_36_shielded_vm_no_secure_boot_eventlog")).unwrap();
        let log = EventLog::parse(&bytes).unwrap();
        let with = |registers| Survey {
            registers: Some(registers),
            event_log: Ok(Some(bytes.clone())),
            ..good()
        };
        // User space measures into 11 after the log was written.
        let same = registers_of(|i| if i < 8 { log.pcr(i) } else { [9; 32] });
        let same = look(with(same), false, Code::TpmEventLog);
        assert_eq!(same.state, State::Ok, "{same:?}");
        let other = registers_of(|i| if i == 4 { [9; 32] } else { log.pcr(i) });
        let other = look(with(other), false, Code::TpmEventLog);
        assert!(
            other.state == State::Warn && other.found.ends_with("PCR 4"),
            "{other:?}"
        );
    }
}
