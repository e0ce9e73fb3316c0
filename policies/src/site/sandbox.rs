//! `sandboxes/*.toml`: what a program that is an upstream may touch.
//!
//! In: the text of the file. Out: a [`Profile`] that denies whatever it does not name. It goes into the bundle, so it is
//! signed; an adapter refers to it by its name, and nothing of it can stand in the adapter's own file. Each layer has to be
//! in force before the program is started, unless the profile calls it optional.

use crate::problem::{Problem, Report, Source};
use crate::site::people::NO_SANDBOX;
use crate::site::text::{plain_name, toml_file, word};
use countersign_record::digest::{ArtifactDigest, sha256_in};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use toml::Spanned;

/// A layer of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The program runs as another user than the gateway.
    User,
    /// It has a network of its own, in which there is nobody but the gateway's proxy.
    NetworkNamespace,
    /// Landlock: files that are not named cannot be opened, TCP goes to the proxy alone, and processes and abstract
    /// sockets outside are out of reach.
    Landlock,
    /// seccomp: calls of the system that a tool does not need are refused.
    Seccomp,
    /// Limits of the system on memory, files and processor time, where the profile has them.
    Limits,
}

impl Layer {
    /// Every layer.
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::NetworkNamespace,
        Self::Landlock,
        Self::Seccomp,
        Self::Limits,
    ];

    /// The word in a profile, a policy and a record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::NetworkNamespace => "network-namespace",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Limits => "limits",
        }
    }
}

/// What network a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// None.
    None,
    /// The gateway's proxy: while a call is carried out, to what its capability lists in `endpoint_in`.
    Proxy,
}

/// Limits on one process, but for `processes`, which is on all of the program's user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Data that it may have, in bytes (`RLIMIT_DATA`).
    pub memory_bytes: Option<u64>,
    /// Processes and threads of its user (`RLIMIT_NPROC`).
    pub processes: Option<u64>,
    /// Files that it may have open (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
    /// Processor time that it may use, in seconds (`RLIMIT_CPU`).
    pub cpu_seconds: Option<u64>,
    /// Largest file that it may write, in bytes (`RLIMIT_FSIZE`).
    pub file_bytes: Option<u64>,
}

/// What a program may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name.
    pub name: String,
    /// Digest of the profile's file: what a record names.
    pub digest: ArtifactDigest,
    /// User and group that it runs as.
    pub uid: u32,
    /// Files and directories that it may read and execute.
    pub read: Vec<String>,
    /// Files and directories that it may read and change.
    pub write: Vec<String>,
    /// What network it has.
    pub network: Network,
    /// Limits.
    pub limits: Limits,
    /// Layers without which it does not start.
    pub required: BTreeSet<Layer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    uid: Spanned<u32>,
    #[serde(default)]
    read: Vec<Spanned<String>>,
    #[serde(default)]
    write: Vec<Spanned<String>>,
    network: Spanned<String>,
    #[serde(default)]
    optional: Vec<Spanned<String>>,
    #[serde(default)]
    limits: Limits,
}

/// Most paths of one list.
const MAX_PATHS: usize = 256;

/// Reads one file.
pub(crate) fn sandbox(source: Source<'_>, report: &mut Report) -> Option<Profile> {
    let file: File = toml_file(source, report)?;
    let before = report.count();
    let name = plain_name(source, "name", &file.name, report);
    if file.name.get_ref() == NO_SANDBOX {
        let expected = "another name: an adapter says \"none\" of a program that nothing confines";
        report.value(source, file.name.span(), "name", NO_SANDBOX, expected);
    }
    let networks = [("none", Network::None), ("proxy", Network::Proxy)];
    let network = word(source, "network", &file.network, &networks, report);
    if matches!(*file.uid.get_ref(), 0 | u32::MAX) {
        let found = file.uid.get_ref().to_string();
        let expected = "the number of a user that is not root and has nothing else to do";
        report.value(source, file.uid.span(), "uid", &found, expected);
    }
    let words: Vec<_> = Layer::ALL.iter().map(|l| (l.name(), *l)).collect();
    let optional: BTreeSet<Layer> = file
        .optional
        .iter()
        .filter_map(|text| word(source, "optional", text, &words, report))
        .collect();
    let read = paths(source, "read", &file.read, report);
    let write = paths(source, "write", &file.write, report);
    if report.count() > before {
        return None;
    }
    let digest = sha256_in("countersign/artifact/v1", &[source.text.as_bytes()]);
    Some(Profile {
        name: name?,
        digest: ArtifactDigest(digest),
        uid: file.uid.into_inner(),
        read,
        write,
        network: network?,
        limits: file.limits,
        required: Layer::ALL
            .into_iter()
            .filter(|layer| !optional.contains(layer))
            .collect(),
    })
}

fn paths(
    source: Source<'_>,
    key: &str,
    texts: &[Spanned<String>],
    report: &mut Report,
) -> Vec<String> {
    if let Some(first) = texts.get(MAX_PATHS) {
        let problem = Problem::Limit {
            what: "paths",
            found: texts.len(),
            limit: MAX_PATHS,
        };
        report.at(source, first.span(), problem);
    }
    for text in texts {
        let path = text.get_ref();
        let plain = path.starts_with('/')
            && path.len() > 1
            && !path.contains('\0')
            && path
                .split('/')
                .skip(1)
                .all(|p| !matches!(p, "" | "." | ".."));
        if !plain {
            let expected = "an absolute path below /, without . and .. and a final slash";
            report.value(source, text.span(), key, path, expected);
        }
    }
    texts.iter().map(|t| t.get_ref().clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = \"tools\"\nuid = 70001\nread = [\"/usr\"]\nwrite = [\"/srv/data\"]\n\
                        network = \"none\"\noptional = [\"user\"]\n[limits]\nprocesses = 16\n";

    fn read(text: &str) -> Result<Profile, String> {
        let mut report = Report::default();
        let source = Source {
            file: "sandboxes/tools.toml",
            text,
        };
        let profile = sandbox(source, &mut report);
        report
            .finish(profile)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn every_layer_is_required_that_is_not_called_optional() {
        let profile = read(GOOD).unwrap();
        let expected = Layer::ALL.into_iter().filter(|l| *l != Layer::User);
        assert_eq!(profile.required, expected.collect());
        assert_eq!(profile.network, Network::None);
        assert_eq!(profile.limits.processes, Some(16));
        assert_eq!(profile.limits.memory_bytes, None);
    }

    #[test]
    fn another_text_is_another_profile() {
        let more = GOOD.replace("16", "17");
        assert_ne!(read(GOOD).unwrap().digest, read(&more).unwrap().digest);
    }

    #[test]
    fn a_profile_that_says_more_or_less_than_it_can_is_refused() {
        for (from, to) in [
            ("uid = 70001", "uid = 0"),
            ("uid = 70001\n", ""),
            ("\"/usr\"", "\"usr\""),
            ("\"/usr\"", "\"/\""),
            ("\"/usr\"", "\"/usr/../etc\""),
            ("\"/usr\"", "\"/usr/\""),
            ("network = \"none\"\n", ""),
            ("network = \"none\"", "network = \"host\""),
            ("[\"user\"]", "[\"everything\"]"),
            ("name = \"tools\"", "name = \"tools:latest\""),
            ("[limits]", "image = \"tools:latest\"\n[limits]"),
        ] {
            assert!(GOOD.contains(from));
            assert!(read(&GOOD.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
