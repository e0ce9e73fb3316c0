//! Landlock: which files, which ports, and nobody else's processes and abstract sockets.
//!
//! Rights that this kernel does not know are left out (it has no way to refuse what it does not know), and the version that
//! is in force is told. A path of the profile that is not there is an error: a profile that names it means something by it.

use anyhow::{Context as _, bail};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};

/// The newest version that is asked for.
const NEWEST: ABI = ABI::V6;

/// What nearly every program opens.
const DEVICES: [(&str, bool); 4] = [
    ("/dev/null", true),
    ("/dev/zero", false),
    ("/dev/random", false),
    ("/dev/urandom", false),
];

/// Confines this process and what it becomes; the version that is in force, or nothing if there is none.
///
/// # Errors
/// If a path is not there, or the kernel refuses.
pub fn confine(read: &[String], write: &[String], port: Option<u16>) -> anyhow::Result<Option<u8>> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    // What is written is not run: no right to execute there.
    let changes = AccessFs::from_all(NEWEST)
        & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
    for path in read {
        rules = beneath(rules, path, AccessFs::from_read(NEWEST))?;
    }
    for path in write {
        rules = beneath(rules, path, changes)?;
    }
    for (path, writes) in DEVICES {
        let rights = match writes {
            true => AccessFs::ReadFile | AccessFs::WriteFile,
            false => AccessFs::ReadFile.into(),
        };
        rules = beneath(rules, path, rights)?;
    }
    if let Some(port) = port {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    let status = rules.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available { effective_abi, .. },
        ) => version(effective_abi).map(Some),
        _ => Ok(None),
    }
}

fn beneath(
    rules: RulesetCreated,
    path: &str,
    rights: BitFlags<AccessFs>,
) -> anyhow::Result<RulesetCreated> {
    let opened = PathFd::new(path).with_context(|| path.to_owned())?;
    let directory = std::fs::metadata(path).is_ok_and(|data| data.is_dir());
    // A file has no rights that only directories can have.
    let rights = match directory {
        true => rights,
        false => rights & AccessFs::from_file(NEWEST),
    };
    rules
        .add_rule(PathBeneath::new(opened, rights))
        .with_context(|| path.to_owned())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "versions are added; one that is not known here has what the newest known one has"
)]
fn version(abi: ABI) -> anyhow::Result<u8> {
    Ok(match abi {
        ABI::V1 => 1,
        ABI::V2 => 2,
        ABI::V3 => 3,
        ABI::V4 => 4,
        ABI::V5 => 5,
        ABI::V6 => 6,
        ABI::V7 => 7,
        ABI::V8 => 8,
        ABI::V9 => 9,
        ABI::Unsupported => bail!("landlock says that it is in force and that it is not there"),
        _ => 10,
    })
}
