//! A sandbox profile for a program that a developer names: drafted by where the program is and what its command names.
//!
//! In: the command. Out: the text of `sandboxes/<name>.toml`, to be read and corrected by who keeps the site. What it does
//! not name is denied, so a draft that is too narrow shows at once, in a tool that fails; none is too wide by much: the
//! network is closed, and nothing is changed but what the command names.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What programs of the system, and what interprets others, are made of.
const SYSTEM: [&str; 9] = [
    "/usr",
    "/bin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl",
    "/etc/mime.types",
    "/etc/alternatives",
];

/// A user that nobody is, for a program of root's.
const NOBODY_ELSE: u32 = 70_001;

/// The profile of a program with these arguments, for the user that runs the gateway.
pub(super) fn profile(name: &str, program: &str, arguments: &[String], user: u32) -> String {
    let mut read: Vec<PathBuf> = SYSTEM
        .iter()
        .map(PathBuf::from)
        .filter(|p| p.exists())
        .collect();
    // As it is named, and where that leads: an environment of Python leads to the interpreter that it was made from.
    let program = Path::new(program);
    let named = [Some(program.to_owned()), program.canonicalize().ok()];
    read.extend(named.into_iter().flatten().filter_map(|p| place(&p)));
    let mut write = Vec::new();
    let paths = arguments.iter().map(Path::new);
    // Whoever names a directory means what is in it to be worked on; a file is read.
    for path in paths.filter(|p| p.is_absolute()) {
        let Ok(path) = path.canonicalize() else {
            continue;
        };
        match path.is_dir() {
            true if path.parent().is_some() => write.push(path),
            true => {}
            false => read.push(path),
        }
    }
    let within =
        |path: &Path, all: &[PathBuf]| all.iter().any(|p| p != path && path.starts_with(p));
    let all = read.clone();
    read.retain(|path| !within(path, &all));
    read.sort();
    read.dedup();
    text(name, user, &read, &write)
}

/// The directory that a program needs: of `…/bin/program` what is beside `bin` too, where its libraries are.
fn place(program: &Path) -> Option<PathBuf> {
    let directory = program.parent()?;
    let around = directory.parent().filter(|p| p.parent().is_some());
    match (directory.file_name(), around) {
        (Some(name), Some(around)) if name == "bin" => Some(around.to_owned()),
        (Some(_), _) => Some(directory.to_owned()),
        (None, _) => None,
    }
}

fn text(name: &str, user: u32, read: &[PathBuf], write: &[PathBuf]) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let list = |paths: &[PathBuf]| {
        let mut out = String::from("[\n");
        for path in paths.iter().filter_map(|p| p.to_str()) {
            let _infallible = writeln!(out, "  {},", quoted(path));
        }
        out + "]"
    };
    // Another user's directories can be changed by that user alone.
    let owner = write.iter().find_map(|p| Some(p.metadata().ok()?.uid()));
    let (uid, optional) = match user {
        0 => (owner.filter(|o| *o != 0).unwrap_or(NOBODY_ELSE), "[]"),
        // Only root can become somebody else; the rest is there for everybody.
        _ => (NOBODY_ELSE, "[\"user\"]"),
    };
    format!(
        "# Drafted from the command. What is not named here is denied. Read it, and correct it.\n\
         name = {}\nuid = {uid}\nread = {}\nwrite = {}\nnetwork = \"none\"\noptional = {optional}\n",
        quoted(name),
        list(read),
        list(write)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafted(program: &str, arguments: &[&str], user: u32) -> toml::Table {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        toml::from_str(&profile("tools", program, &arguments, user)).unwrap()
    }

    fn paths(profile: &toml::Table, key: &str) -> Vec<String> {
        let all = profile[key].as_array().unwrap().iter();
        all.map(|p| p.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_directory_that_the_command_names_may_be_changed_and_a_file_read() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        std::fs::write(place.join("server.py"), "").unwrap();
        std::fs::create_dir(place.join("data")).unwrap();
        let named = |name: &str| place.join(name).display().to_string();
        let (file, data) = (named("server.py"), named("data"));
        let profile = drafted(
            "/usr/bin/env",
            &["-x", &file, &data, "data", "/no-such", "/"],
            1000,
        );
        assert_eq!(paths(&profile, "write"), [data]);
        let read = paths(&profile, "read");
        assert!(
            read.contains(&file) && read.contains(&"/usr".to_owned()),
            "{read:?}"
        );
        // What lies within another entry is not named again, and nothing is the whole machine.
        assert!(!read.contains(&"/usr/bin".to_owned()) && !read.contains(&"/".to_owned()));
        assert_eq!(profile["network"].as_str(), Some("none"));
    }

    #[test]
    fn an_environment_is_read_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(place.join("venv/bin")).unwrap();
        std::os::unix::fs::symlink("/usr/bin/env", place.join("venv/bin/tool")).unwrap();
        let tool = place.join("venv/bin/tool").display().to_string();
        let read = paths(&drafted(&tool, &[], 1000), "read");
        assert!(
            read.contains(&place.join("venv").display().to_string()),
            "{read:?}"
        );
    }

    #[test]
    fn only_root_gives_a_program_another_user() {
        let of = |user| drafted("/usr/bin/env", &[], user);
        assert_eq!(of(0)["optional"].as_array().unwrap().len(), 0);
        assert_eq!(of(1000)["optional"].as_array().unwrap().len(), 1);
        assert_eq!(of(0)["uid"].as_integer(), Some(i64::from(NOBODY_ELSE)));
    }
}
