//! The ceremony by which a machine continues the work of another, one command a person.
//!
//! In: a machine that has not served yet, and a copy of the other's state directory. Out: files in
//! the machine's directory, each of which a test may exchange before the next person uses it.

use crate::machine::Machine;
use crate::process::run;
use std::path::{Path, PathBuf};
use std::process::Command;

impl Machine {
    /// A file that passes between the people.
    #[must_use]
    pub fn handed(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The operator: copy the old log, and ask to continue it. Writes `request.cbor`.
    #[must_use]
    pub fn ask_to_adopt(&self, old: &Path) -> Command {
        let mut out = self.command(&["enrol", "request"]);
        out.arg("--site").arg(self.site().path());
        out.arg("--state").arg(self.state());
        out.arg("--adopt").arg(old);
        out.arg("--out").arg(self.handed("request.cbor"));
        out
    }

    /// Governance: list this gateway, and end the other. Reads `request.cbor`, writes `fleet.cose`.
    #[must_use]
    pub fn sign_fleet(&self, previous: &Path, number: u64) -> Command {
        let mut out = self.command(&["enrol", "sign", "--fleet", "tests", "--name", "successor"]);
        out.args(["--number", &number.to_string()]);
        out.arg("--request").arg(self.handed("request.cbor"));
        out.arg("--key").arg(self.site().key_file("governance.key"));
        out.arg("--previous").arg(previous);
        out.arg("--out").arg(self.handed("fleet.cose"));
        out
    }

    /// The operator: put `fleet.cose` in place.
    #[must_use]
    pub fn install_fleet(&self) -> Command {
        let mut out = self.command(&["enrol", "install"]);
        out.arg("--state").arg(self.state());
        out.arg(self.handed("fleet.cose"));
        out
    }

    /// Governance, or whoever has `key`: say that this gateway continues the other's work. Writes `adopt.cose`.
    #[must_use]
    pub fn sign_adoption(&self, key: &str) -> Command {
        let mut out = self.command(&["adopt", "sign", "--reason", "the machine burned"]);
        out.arg("--request").arg(self.handed("request.cbor"));
        out.arg("--key").arg(self.site().key_file(key));
        out.arg("--out").arg(self.handed("adopt.cose"));
        out
    }

    /// The holder of the recovery key: wrap the old storage key for this gateway. Writes `adopt.storage`.
    #[must_use]
    pub fn hand_storage(&self, wrap: &Path) -> Command {
        let mut out = self.command(&["adopt", "storage"]);
        out.arg("--request").arg(self.handed("request.cbor"));
        out.arg("--statement").arg(self.handed("adopt.cose"));
        let governance = self.site().public_key("governance.key").to_string();
        out.args(["--governance", &governance]);
        out.arg("--wrap").arg(wrap);
        out.arg("--key").arg(self.site().key_file("recovery.key"));
        out.arg("--out").arg(self.handed("adopt.storage"));
        out
    }

    /// The operator: put `adopt.cose` and `adopt.storage` in place.
    #[must_use]
    pub fn install_adoption(&self) -> Command {
        let mut out = self.command(&["adopt", "install"]);
        out.arg("--state").arg(self.state());
        out.arg("--storage").arg(self.handed("adopt.storage"));
        out.arg(self.handed("adopt.cose"));
        out
    }

    /// The whole ceremony, with everybody's consent.
    pub fn adopt(&self, old: &Path, previous: &Path) {
        run(&mut self.ask_to_adopt(old));
        run(&mut self.sign_fleet(previous, 2));
        run(&mut self.install_fleet());
        run(&mut self.sign_adoption("governance.key"));
        run(&mut self.hand_storage(&old.join("storage.recovery")));
        run(&mut self.install_adoption());
    }
}
