//! Logs of gateways whose keys live for one boot: this start's, and beside it those of the starts before.
//!
//! In: the state directory of a machine without a TPM. Out: a directory for this boot's gateway, and the earlier logs to
//! read from. Nobody can write to those any more: the keys that could are gone.
//!
//! ```text
//! STATE/ boots/<gateway>/    log/, storage.recovery: one for each start, named after the identity that it had
//!        enrol-request.cbor  of this start        fleet.cose   what governance signed last
//! ```
//!
//! Their stored values open with the recovery key alone, where another gateway adopts one of these directories. Here they
//! stay closed, and with them stays closed what they mean for calls: this boot knows no stop, no approval, no idempotency key
//! and no budget of an earlier one.
//!
//! Everything here is on the operator's disk. An earlier log is checked like one of our own before it is read, and what it says is for
//! whoever verifies it; nothing here depends on it.

use crate::site::{StateDir, StateFile};
use anyhow::{Context as _, bail};
use countersign_journal::{Archive, KeyRing};
use countersign_record::digest::GatewayId;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::sync::OnceLock;

/// The logs of all starts on a machine without a TPM.
#[derive(Debug)]
pub struct Boots {
    directory: StateDir,
    earlier: BTreeMap<GatewayId, OnceLock<Archive>>,
    /// One gateway at a time waits for its enrolment here.
    _lock: File,
}

impl Boots {
    /// Finds what earlier starts left in `state`, and keeps others from starting there.
    ///
    /// # Errors
    /// If the directory is that of a gateway with a TPM, if a gateway runs there, or if it holds what is no log of a gateway.
    pub fn open(state: &StateDir) -> anyhow::Result<Self> {
        refuse_sealed(state)?;
        let directory = StateDir::open(&state.file(StateFile::Boots))?;
        let shown = directory.path().display();
        let lock = File::open(directory.path()).with_context(|| format!("cannot open {shown}"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                bail!("another gateway runs on this state directory")
            }
            Err(error) => return Err(error).with_context(|| format!("cannot lock {shown}")),
        }
        let mut earlier = BTreeMap::new();
        for entry in fs::read_dir(directory.path()).with_context(|| shown.to_string())? {
            let name = entry?.file_name();
            let gateway = name.to_str().and_then(GatewayId::from_hex);
            let gateway = gateway.with_context(|| {
                format!("boots/{} is not named after a gateway", name.display())
            })?;
            let log = StateFile::Log.below(&directory.path().join(&name));
            Archive::give_back_room(&log).context("the log of an earlier boot")?;
            earlier.insert(gateway, OnceLock::new());
        }
        Ok(Self {
            directory,
            earlier,
            _lock: lock,
        })
    }

    /// A directory for this boot's own log.
    ///
    /// # Errors
    /// If there is one already: identities do not come twice, so somebody made it up.
    pub fn begin(&self, gateway: GatewayId) -> anyhow::Result<StateDir> {
        let own = self.directory.path().join(gateway.to_string());
        if own.exists() {
            bail!(
                "{} is there already, and its gateway was made just now",
                own.display()
            );
        }
        StateDir::open(&own)
    }

    /// How many earlier starts left a log.
    #[must_use]
    pub fn count(&self) -> usize {
        self.earlier.len()
    }

    /// The log of an earlier start, without its values; it is checked when it is first asked for. Not for threads that run
    /// futures.
    ///
    /// # Errors
    /// The first thing in it that is not as it was written.
    pub fn earlier(&self, gateway: GatewayId) -> anyhow::Result<Option<&Archive>> {
        let Some(place) = self.earlier.get(&gateway) else {
            return Ok(None);
        };
        if let Some(archive) = place.get() {
            return Ok(Some(archive));
        }
        let log = StateFile::Log.below(&self.directory.path().join(gateway.to_string()));
        let ring = KeyRing::without_keys();
        let (archive, _) = Archive::open(&log, gateway, ring, &mut |_, _| Ok(()))?;
        // Whoever asked at the same time has opened the same.
        Ok(Some(place.get_or_init(|| archive)))
    }
}

/// A gateway whose keys a TPM keeps does not go on without that TPM, and nobody becomes another gateway in its place unseen.
fn refuse_sealed(state: &StateDir) -> anyhow::Result<()> {
    for file in [StateFile::Keys, StateFile::Log, StateFile::Adopted] {
        let path = state.file(file);
        if path.exists() {
            bail!(
                "{} belongs to a gateway whose keys a TPM keeps, and there is no TPM here: give the machine its TPM back, or \
                 serve from another state directory",
                path.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: GatewayId = GatewayId([7; 32]);

    fn state() -> (tempfile::TempDir, StateDir) {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::open(&root.path().join("state")).unwrap();
        (root, state)
    }

    fn refusal(state: &StateDir) -> String {
        format!("{:#}", Boots::open(state).map(|_| ()).unwrap_err())
    }

    #[test]
    fn each_boot_has_a_directory_of_its_own_and_none_is_taken_up_again() {
        let (_root, state) = state();
        let boots = Boots::open(&state).unwrap();
        assert_eq!(boots.count(), 0);
        let own = boots.begin(GATEWAY).unwrap();
        assert!(own.path().ends_with(GATEWAY.to_string()));
        let again = boots.begin(GATEWAY).map(|_| ()).unwrap_err();
        assert!(again.to_string().contains("is there already"), "{again}");
        drop(boots);
        let next = Boots::open(&state).unwrap();
        assert_eq!(next.count(), 1);
        assert!(next.begin(GATEWAY).is_err());
        // It has no log, so there is nothing to read; of a gateway that was never here there is not even that.
        assert!(next.earlier(GATEWAY).is_err());
        assert!(next.earlier(GatewayId([8; 32])).unwrap().is_none());
    }

    #[test]
    fn one_gateway_at_a_time_runs_on_a_state_directory() {
        let (_root, state) = state();
        let first = Boots::open(&state).unwrap();
        assert!(refusal(&state).contains("another gateway runs"));
        drop(first);
        Boots::open(&state).unwrap();
    }

    #[test]
    fn the_state_of_a_gateway_with_a_tpm_is_not_taken_up_without_it() {
        for name in ["keys.sealed", "log", "adopted"] {
            let (_root, state) = state();
            fs::write(state.path().join(name), "").unwrap();
            let said = refusal(&state);
            assert!(
                said.contains(name) && said.contains("no TPM here"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_directory_that_is_no_gateways_is_named() {
        let (_root, state) = state();
        drop(Boots::open(&state).unwrap());
        fs::create_dir(state.path().join("boots").join("old")).unwrap();
        assert!(refusal(&state).contains("boots/old is not named after a gateway"));
    }

    #[test]
    fn an_earlier_log_keeps_no_room_for_settlements() {
        let (_root, state) = state();
        let own = Boots::open(&state).unwrap().begin(GATEWAY).unwrap();
        let log = own.file(StateFile::Log);
        fs::create_dir(&log).unwrap();
        fs::write(log.join("ballast"), [0; 64]).unwrap();
        fs::write(log.join("other"), "kept").unwrap();
        drop(Boots::open(&state).unwrap());
        assert!(!log.join("ballast").exists());
        assert!(log.join("other").exists());
    }
}
