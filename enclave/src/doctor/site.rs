//! The site's files and the state directory.
//!
//! In: both directories, a time. Out: findings `site.*` and `state.*`, and what of the site the others need. Reads
//! files, and writes none; the sealed keys are looked at from outside only.

use super::{Code, Finding};
use crate::site::{SiteDir, StateFile};
use countersign_journal::{Journal, Limits, OpenError};
use countersign_platform::policy::{ApprovalDigest, ReleasePolicy};
use countersign_platform::{SealedBlob, Survey};
use countersign_policies::bundle::{Bundle, Pins};
use countersign_policies::site::settings::{SETTINGS_FILE, Settings};
use countersign_record::digest::UnixMillis;
use countersign_record::time;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Free bytes below which somebody should make room (1 GiB): a busy gateway writes that in hours.
const ROOM_SOON: u64 = 1 << 30;

/// How far a file may be from the future (60 s), as clocks of two machines differ.
const AHEAD_MILLIS: u64 = 60_000;

/// 2026-01-01, before which no release of this program was made.
const FIRST_RELEASE: UnixMillis = UnixMillis(1_767_225_600_000);

/// What of the site others need.
pub struct Site {
    /// Findings `site.*`.
    pub findings: Vec<Finding>,
    /// Settings, if they can be read.
    pub settings: Option<Settings>,
    /// The release policy, if it can be used with the settings.
    pub release: Option<ReleasePolicy>,
}

/// Looks at a site.
#[must_use]
pub fn site(directory: &Path, now: UnixMillis) -> Site {
    let site = SiteDir::new(directory);
    let clock = clock(&site, now);
    let settings = match site.settings() {
        Ok((settings, _)) => settings,
        Err(error) => {
            let finding = Code::SiteSettings.fail(
                format!("{error:#}"),
                "mend what is named (docs/configuration.md), or make a site with `countersign init`",
            );
            let rest = [Code::SiteBundle, Code::SiteRelease].map(|code| {
                code.unknown("there are no settings to compare with", "see site.settings")
            });
            return Site {
                findings: [vec![finding, clock], rest.to_vec()].concat(),
                settings: None,
                release: None,
            };
        }
    };
    let read = Code::SiteSettings.ok(format!(
        "site {:?}, tpm {}, release {}",
        settings.name, settings.tpm, settings.release.sequence
    ));
    let (release, policy) = release(&site, &settings);
    Site {
        findings: vec![read, bundle(&site, &settings), release, clock],
        release: policy,
        settings: Some(settings),
    }
}

fn bundle(site: &SiteDir, settings: &Settings) -> Finding {
    let code = Code::SiteBundle;
    let bundle = match site.bundle(&Pins::of_settings(settings)) {
        Ok((bundle, _)) => bundle,
        Err(error) => {
            return code.fail(
                format!("{error:#}"),
                "build it with `countersign bundle build`, and have it signed with `countersign bundle sign`",
            );
        }
    };
    let head = &bundle.content().head;
    let found = format!(
        "version {}, signed by {} keys that count",
        head.version,
        bundle.signers().len()
    );
    let built = site.parse().ok().and_then(|site| Bundle::build(&site).ok());
    match built {
        Some(built) if built.digest() == bundle.digest() => {
            code.ok(format!("{found}; it is what the site's files give"))
        }
        Some(_) => code.warn(
            format!("{found}; the site's files have changed since and would give another"),
            "if the change should count, raise bundle.version, build, sign, and restart the gateway",
        ),
        None => code.warn(
            format!("{found}; from the site's files as they are none can be built"),
            "`countersign bundle check` says what is wrong with them",
        ),
    }
}

fn release(site: &SiteDir, settings: &Settings) -> (Finding, Option<ReleasePolicy>) {
    let code = Code::SiteRelease;
    let advice = "have the vendor sign it for this release: `countersign release sign`";
    let policy = match site.release() {
        Ok(policy) => policy,
        Err(error) => return (code.fail(format!("{error:#}"), advice), None),
    };
    if policy.release_key.to_sec1().as_slice() != settings.release.key.as_slice() {
        let found = "signed by another release key than the one in the settings";
        return (code.fail(found, advice), None);
    }
    if policy.sequence != settings.release.sequence {
        let (found, named) = (policy.sequence, settings.release.sequence);
        let found = format!("of release {found}, and the settings name release {named}");
        return (code.fail(found, advice), None);
    }
    if !is_signed(&policy) {
        return (
            code.fail("its signature is not by the release key", advice),
            None,
        );
    }
    (
        code.ok(format!("approved for release {}", policy.sequence)),
        Some(policy),
    )
}

/// Whether the release key signed it. The TPM verifies it again.
fn is_signed(policy: &ReleasePolicy) -> bool {
    let digest = ApprovalDigest::of(&policy.approved());
    let key = VerifyingKey::from_sec1_bytes(&policy.release_key.to_sec1());
    let signature = Signature::from_scalars(policy.signature.r, policy.signature.s);
    match (key, signature) {
        (Ok(key), Ok(signature)) => key.verify_prehash(&digest.0, &signature).is_ok(),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn clock(site: &SiteDir, now: UnixMillis) -> Finding {
    let code = Code::SiteClock;
    let shown = time::format(now);
    let advice = "have it set by NTP (chrony, systemd-timesyncd): verifiers compare it with witnesses and timestamps";
    if now < FIRST_RELEASE {
        return code.fail(format!("{shown}, before this program was made"), advice);
    }
    let files = [
        site.path().join(SETTINGS_FILE),
        site.bundle_file(),
        site.release_file(),
    ];
    let newest = files.iter().filter_map(|path| written(path)).max();
    match newest {
        Some(newest) if newest.0 > now.0.saturating_add(AHEAD_MILLIS) => code.warn(
            format!(
                "{shown}, but a file of the site was written {}",
                time::format(newest)
            ),
            advice,
        ),
        Some(_) | None => code.ok(format!("{shown}; no file of the site is from the future")),
    }
}

/// When a file was written.
fn written(path: &Path) -> Option<UnixMillis> {
    let since = fs::metadata(path)
        .ok()?
        .modified()
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    Some(UnixMillis(u64::try_from(since.as_millis()).ok()?))
}

/// What of the state directory others need.
pub struct State {
    /// Findings `state.*` but that of the keys.
    pub findings: Vec<Finding>,
    /// Where it is.
    directory: PathBuf,
    /// A gateway has the log.
    pub running: bool,
    /// There are sealed keys.
    pub sealed: bool,
}

/// Looks at a state directory, from outside.
#[must_use]
pub fn state(directory: &Path) -> State {
    let log = StateFile::Log.below(directory);
    let in_use = Journal::refuse_if_in_use(&log);
    let running = matches!(in_use, Err(OpenError::Locked { .. }));
    let logged = match in_use {
        Err(OpenError::Locked { .. }) => Code::StateLog.ok("a gateway runs and has it"),
        Err(error) => Code::StateLog.fail(error.to_string(), "let the gateway's user read it"),
        Ok(()) if log.is_dir() => Code::StateLog.ok("there, and no gateway has it now"),
        Ok(()) => Code::StateLog.ok("none yet: the first start makes it"),
    };
    State {
        findings: vec![permissions(directory), logged, space(directory)],
        directory: directory.to_owned(),
        running,
        sealed: StateFile::Keys.below(directory).exists(),
    }
}

fn permissions(directory: &Path) -> Finding {
    let code = Code::StateDirectory;
    let shown = directory.display();
    let meta = match fs::metadata(directory) {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => {
            return code.fail(
                format!("{shown} is no directory"),
                "name the one that `serve` gets",
            );
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return code.ok(format!(
                "{shown} is not there yet: the first start makes it"
            ));
        }
        Err(error) => {
            return code.fail(
                format!("{shown}: {error}"),
                "run doctor as the gateway's user",
            );
        }
    };
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        code.warn(
            format!("{shown} has mode {mode:o}: others than its owner may look in"),
            format!("chmod 700 {shown}"),
        )
    } else if access(directory, Access::WRITE_OK).is_err() {
        code.warn(
            format!(
                "{shown} belongs to user {} and this user may not write there",
                meta.uid()
            ),
            "start the gateway as its owner",
        )
    } else {
        code.ok(format!("{shown}, for its owner only"))
    }
}

/// Room where the log is or will be.
fn space(directory: &Path) -> Finding {
    let code = Code::StateSpace;
    let there = directory
        .ancestors()
        .find(|d| d.is_dir() || d.as_os_str().is_empty());
    let place = match there {
        Some(place) if !place.as_os_str().is_empty() => place,
        Some(_) | None => Path::new("."),
    };
    let found = match statvfs(place) {
        Ok(found) => found,
        Err(error) => {
            return code.unknown(
                format!("{}: {error}", place.display()),
                "run doctor as the gateway's user",
            );
        }
    };
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return code.fail("the file system can only be read", "mount it for writing");
    }
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    room(free)
}

fn room(free: u64) -> Finding {
    let code = Code::StateSpace;
    let limits = Limits::default();
    let calls = u64::try_from(limits.open_calls).unwrap_or(u64::MAX);
    let needed = limits.settlement_bytes.saturating_mul(calls);
    let found = format!("{} MiB free for the log", free >> 20);
    if free < needed {
        code.fail(
            format!(
                "{found}; {} MiB are set aside for settlements alone",
                needed >> 20
            ),
            "make room: without it calls are refused (audit_unavailable)",
        )
    } else if free < ROOM_SOON {
        code.warn(
            found,
            "make room, or move the state directory to a larger disk while the gateway is stopped",
        )
    } else {
        code.ok(found)
    }
}

/// The finding when nobody said where the state directory is.
#[must_use]
pub fn no_state() -> Vec<Finding> {
    let codes = [
        Code::StateDirectory,
        Code::StateKeys,
        Code::StateLog,
        Code::StateSpace,
    ];
    let say = |code: Code| {
        code.unknown(
            "nobody said where the state directory is",
            "name it with --state DIR",
        )
    };
    codes.map(say).to_vec()
}

impl State {
    /// The sealed keys, beside the TPM under which they should open.
    #[must_use]
    pub fn keys(&self, survey: Option<&Survey>) -> Finding {
        let code = Code::StateKeys;
        let path = StateFile::Keys.below(&self.directory);
        let elsewhere = "this state directory belongs to another machine, or the TPM was cleared: see docs/keys.md, \
                         \"A machine that is gone\"";
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return if StateFile::Log.below(&self.directory).exists() {
                    code.fail(
                        "there is a log, and no sealed keys: it is not this gateway's",
                        elsewhere,
                    )
                } else {
                    code.ok("none yet: the first start makes them")
                };
            }
            Err(error) => {
                return code.unknown(
                    format!("{}: {error}", path.display()),
                    "run doctor as the gateway's user",
                );
            }
        };
        let blob = match SealedBlob::parse(&bytes) {
            Ok(blob) => blob,
            Err(error) => {
                return code.fail(
                    format!("{} is damaged: {error}", path.display()),
                    "put back a copy of the file: it opens on this machine alone",
                );
            }
        };
        match survey {
            None => code.unknown(
                "there; the TPM was not asked whether they are its own",
                "see tpm.reachable",
            ),
            Some(survey) if survey.storage_key_name.as_ref() == Some(blob.storage_key()) => {
                code.ok("sealed under the storage key of this TPM")
            }
            Some(_) => code.fail("sealed under the storage key of another TPM", elsewhere),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State as Stands;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_log_without_keys_is_not_this_gateways() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(state(directory.path()).keys(None).state, Stands::Ok);
        fs::create_dir(directory.path().join("log")).unwrap();
        let found = state(directory.path()).keys(None);
        assert_eq!(found.state, Stands::Fail, "{found:?}");
        fs::write(directory.path().join("keys.sealed"), "no blob").unwrap();
        let found = state(directory.path()).keys(None);
        assert!(
            found.state == Stands::Fail && found.found.contains("damaged"),
            "{found:?}"
        );
    }

    #[test]
    fn a_state_directory_that_others_may_open_is_named_and_none_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let later = directory.path().join("later");
        assert_eq!(permissions(&later).state, Stands::Ok);
        assert_eq!(state(&later).findings.len(), 3);
        assert!(!later.exists());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let open = permissions(directory.path());
        assert!(
            open.state == Stands::Warn && open.found.contains("755"),
            "{open:?}"
        );
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(permissions(directory.path()).state, Stands::Ok);
    }

    #[test]
    fn room_is_compared_with_what_is_set_aside() {
        assert_eq!(room(63 << 20).state, Stands::Fail);
        assert_eq!(room(64 << 20).state, Stands::Warn);
        assert_eq!(room(1 << 30).state, Stands::Ok);
    }

    #[test]
    fn a_clock_before_this_program_was_made_is_wrong() {
        let nowhere = SiteDir::new(Path::new("/nonexistent"));
        assert_eq!(clock(&nowhere, UnixMillis(0)).state, Stands::Fail);
        assert_eq!(clock(&nowhere, FIRST_RELEASE).state, Stands::Ok);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(SETTINGS_FILE), "").unwrap();
        let before = SiteDir::new(directory.path());
        assert_eq!(clock(&before, FIRST_RELEASE).state, Stands::Warn);
    }

    #[test]
    fn without_settings_the_rest_of_the_site_is_not_told() {
        let directory = tempfile::tempdir().unwrap();
        let Site {
            findings,
            settings,
            release,
        } = site(directory.path(), FIRST_RELEASE);
        assert!(settings.is_none() && release.is_none());
        let states: Vec<(Code, Stands)> = findings.iter().map(|f| (f.code, f.state)).collect();
        assert_eq!(
            states,
            [
                (Code::SiteSettings, Stands::Fail),
                (Code::SiteClock, Stands::Ok),
                (Code::SiteBundle, Stands::Unknown),
                (Code::SiteRelease, Stands::Unknown)
            ]
        );
    }
}
