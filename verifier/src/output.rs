//! Writes a report to a file, whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where a report will be written. There was no file of that name when it was made.
#[derive(Debug)]
pub(crate) struct Destination(PathBuf);

impl Destination {
    /// Refuses a name that is taken: an older report must not be there if this run is interrupted, and nobody's file is replaced.
    pub(crate) fn vacant(path: &str) -> Result<Self, String> {
        match fs::symlink_metadata(path) {
            Ok(_) => Err(format!("{path}: exists already; a report replaces no file")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self(PathBuf::from(path)))
            }
            Err(error) => Err(format!("{path}: {error}")),
        }
    }

    /// Writes all of it, then gives it its name.
    pub(crate) fn write(&self, text: &str) -> Result<(), String> {
        let Self(path) = self;
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let written = write_and_name(path, &partial, text);
        if written.is_err() {
            // What is left of it, if anything, bears another name.
            let _ = fs::remove_file(&partial);
        }
        written.map_err(|e| format!("{}: {e}", path.display()))
    }
}

fn write_and_name(path: &Path, partial: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(partial, path)
}
