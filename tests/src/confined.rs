//! A hostile program in a sandbox, as an upstream: `fixtures/confined.py` tries what it is told to.

use crate::fixture;
use crate::site::{Site, python};
use rustix::process::getuid;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Users that nobody is: one for each program, because processes are counted by user.
static NEXT_UID: AtomicU32 = AtomicU32::new(0);

/// A place that other users can reach, with a directory that the program may change.
#[derive(Debug)]
pub struct Place {
    directory: tempfile::TempDir,
    /// What the program may change.
    pub data: PathBuf,
    /// The user that it runs as.
    pub uid: u32,
}

impl Place {
    /// Makes one, with a user of its own.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let own = (std::process::id() % 10_000) * 16;
        let uid = 100_000 + own + NEXT_UID.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::tempdir().unwrap();
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        open(directory.path());
        for name in ["confined.py", "confined.json"] {
            fs::copy(fixture(name), directory.path().join(name)).unwrap();
        }
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        if getuid().is_root() {
            chown(&data, Some(uid), Some(uid)).unwrap();
        }
        // Readable to everybody as far as permissions go: only the sandbox keeps the program from it.
        fs::write(directory.path().join("beside.txt"), "not named").unwrap();
        Self {
            directory,
            data,
            uid,
        }
    }

    /// A file of it.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A profile `tools` that names what the program needs, and no more.
    #[must_use]
    pub fn profile(&self, network: &str, more: &str) -> String {
        let read = [
            "/usr".to_owned(),
            self.file("confined.py"),
            self.file("confined.json"),
        ];
        // Only root can become somebody else; the rest is there for everybody.
        let optional = if getuid().is_root() {
            "[]"
        } else {
            "[\"user\"]"
        };
        format!(
            "name = \"tools\"\nuid = {}\nread = {read:?}\nwrite = [{:?}]\nnetwork = \"{network}\"\n\
             optional = {optional}\n{more}\n[limits]\nprocesses = 16\nmemory_bytes = 268435456\nopen_files = 64\n\
             file_bytes = 1048576\n",
            self.uid,
            self.data.display().to_string()
        )
    }

    /// Puts the program behind a site as the upstream `box`, within a profile; its tool `tunnel` may reach these
    /// addresses. The bundle is to be built anew.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn put_into(&self, site: &Site, profile: &str, reaches: &[String]) {
        fs::create_dir_all(site.file("sandboxes")).unwrap();
        site.write("sandboxes/tools.toml", profile);
        let arguments = [
            "-I",
            "-S",
            &self.file("confined.py"),
            &self.file("confined.json"),
        ];
        let reached = format!(
            "kind = \"mcp-stdio\"\ncommand = {:?}\nargs = {arguments:?}\nsandbox = \"tools\"\n\
         environment = {{ NAMED = \"yes\" }}",
            python()
        );
        site.add_upstream("box", &reached, &fixture("confined.json"));
        let tunnel = site.file("capabilities/box-tunnel.toml");
        let text = fs::read_to_string(&tunnel).unwrap();
        // What reaches other hosts has the mode for it, and a budget.
        if !reaches.is_empty() {
            let text = text.replace("\"read_only\"", "\"network\"");
            let budget = "[num_calls]\ncalls = 1000\nseconds = 3600\n";
            fs::write(tunnel, format!("{text}endpoint_in = {reaches:?}\n{budget}")).unwrap();
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// Somebody who says who they are to whoever comes; where they are.
///
/// # Panics
/// If there is no port left.
#[must_use]
pub fn greeter() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            // Who goes away at once does not hear it.
            let _unheard = stream.write_all(b"greetings");
        }
    });
    address
}
