//! The site directory: one directory in git.
//!
//! ```text
//! countersign.toml      this gateway: addresses, keys, tenants, which bundles are accepted
//! adapters/*.toml       upstreams                 schemas/*.json    argument schemas, where not inline
//! capabilities/*.toml   what tools may do         policies/*.cedar  who may do what
//! agents/*.toml         who may call              approvers/*.toml  who may approve
//! issuers/*.toml        whose tokens count        jwks/*.json       their keys
//! roots/*.pem           whose certificates upstreams may have
//! descriptors/*.json    what tools said of themselves when they were pinned
//! sandboxes/*.toml      what programs that are upstreams may touch
//! trust-domains/*.toml  whose certificates name workloads
//! refusals.toml         whom refused callers are told to ask
//! ```
//!
//! In: files. Out: a [`Site`], or all its problems with file and line. [`read`] is the only
//! function of this package that touches a disk.

pub mod capability;
pub(crate) mod contract;
mod descriptor;
pub mod egress;
pub mod issuers;
pub mod method;
pub mod people;
pub mod profiles;
pub mod refusals;
pub mod sandbox;
pub mod settings;
pub mod telemetry;
pub(crate) mod text;
pub mod workloads;

use crate::content::{Content, Head};
use crate::problem::{Problem, Problems, Report, Source};
use refusals::REFUSALS_FILE;
use settings::{SETTINGS_FILE, Settings};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// Largest site file, in bytes (8 MiB).
pub const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// Most files of a site.
pub const MAX_FILES: usize = 20_000;

/// Files of a site that stand in none of its directories.
const SINGLE: [&str; 2] = [SETTINGS_FILE, REFUSALS_FILE];

/// Directories of a site and what their files are called.
const DIRECTORIES: [(&str, &str); 12] = [
    ("adapters", "toml"),
    ("agents", "toml"),
    ("approvers", "toml"),
    ("capabilities", "toml"),
    ("descriptors", "json"),
    ("issuers", "toml"),
    ("jwks", "json"),
    ("policies", "cedar"),
    ("roots", "pem"),
    ("sandboxes", "toml"),
    ("schemas", "json"),
    ("trust-domains", "toml"),
];

/// Texts of files by their path inside the site, `/` between names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteFiles(pub BTreeMap<String, String>);

impl SiteFiles {
    /// Files below a directory, in order.
    pub(crate) fn under(&self, directory: &str) -> impl Iterator<Item = Source<'_>> {
        self.0
            .iter()
            .filter(move |(path, _)| path.starts_with(directory))
            .map(|(file, text)| Source { file, text })
    }

    pub(crate) fn source<'a>(&'a self, file: &'a str) -> Option<Source<'a>> {
        self.0.get(file).map(|text| Source { file, text })
    }

    /// The files that go into a bundle: all but this gateway's own settings.
    pub(crate) fn without_settings(&self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(path, _)| *path != SETTINGS_FILE)
                .map(|(p, t)| (p.clone(), t.clone()))
                .collect(),
        )
    }

    /// Notes every file that a site does not have.
    pub(crate) fn check_places(&self, report: &mut Report) {
        for path in self.0.keys().filter(|p| !SINGLE.contains(&p.as_str())) {
            let fits = DIRECTORIES.iter().any(|(directory, extension)| {
                path.strip_prefix(directory)
                    .and_then(|rest| rest.strip_prefix('/'))
                    .and_then(|name| name.strip_suffix(extension))
                    .and_then(|stem| stem.strip_suffix('.'))
                    .is_some_and(|stem| !stem.is_empty() && !stem.contains('/'))
            });
            if !fits {
                let expected = "countersign.toml, refusals.toml, adapters/*.toml, agents/*.toml, approvers/*.toml, \
                                capabilities/*.toml, descriptors/*.json, issuers/*.toml, jwks/*.json, policies/*.cedar, \
                                roots/*.pem, sandboxes/*.toml, schemas/*.json or trust-domains/*.toml";
                report.file(path, Problem::UnexpectedFile { expected });
            }
        }
        if self.0.len() > MAX_FILES {
            report.file(
                "site",
                Problem::Limit {
                    what: "files",
                    found: self.0.len(),
                    limit: MAX_FILES,
                },
            );
        }
    }
}

/// A site that holds together.
#[derive(Debug)]
pub struct Site {
    /// This gateway.
    pub settings: Settings,
    /// What the bundle will contain.
    pub content: Arc<Content>,
    pub(crate) files: SiteFiles,
}

impl Site {
    /// Reads a site's files.
    ///
    /// # Errors
    /// All problems that were found.
    pub fn parse(files: &SiteFiles) -> Result<Self, Problems> {
        let mut report = Report::default();
        files.check_places(&mut report);
        let settings = match files.source(SETTINGS_FILE) {
            Some(source) => Settings::parse(source.text, &mut report),
            None => {
                report.file(SETTINGS_FILE, Problem::MissingFile);
                None
            }
        };
        let Some(settings) = settings else {
            return report.finish(None);
        };
        let head = Head {
            name: settings.name.clone(),
            environment: settings.bundle.environment.clone(),
            version: settings.bundle.version,
            tenants: settings.tenants.clone(),
            profiles: settings.profiles.clone(),
        };
        let files = files.without_settings();
        let content = Content::read(head, &files, &mut report);
        report.finish(content.map(|content| Self {
            settings,
            content: Arc::new(content),
            files,
        }))
    }
}

/// Reads this gateway's settings alone, for a gateway that gets its bundle as a file.
///
/// # Errors
/// All problems that were found.
pub fn parse_settings(text: &str) -> Result<Settings, Problems> {
    let mut report = Report::default();
    let settings = Settings::parse(text, &mut report);
    report.finish(settings)
}

/// Why a directory could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file or directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is too large.
    #[error("{path} is {found} bytes, limit is {MAX_FILE_BYTES}")]
    TooLarge {
        /// Which file.
        path: String,
        /// Its length, in bytes.
        found: u64,
    },
    /// There are too many files.
    #[error("more than {MAX_FILES} files")]
    TooMany,
    /// A file is not text.
    #[error("{path} is not utf-8")]
    NotText {
        /// Which file.
        path: String,
    },
}

/// Reads a directory. Names that begin with a dot and directories that a site does not have are left alone.
///
/// # Errors
/// If a file is unreadable, too large or no text.
pub fn read(directory: &Path) -> Result<SiteFiles, ReadError> {
    let mut files = BTreeMap::new();
    for name in SINGLE {
        let file = directory.join(name);
        if file.is_file() {
            files.insert(name.to_owned(), read_text(&file, name)?);
        }
    }
    for (name, _) in DIRECTORIES {
        let inner = directory.join(name);
        if !inner.is_dir() {
            continue;
        }
        let io = |source| ReadError::Io {
            path: name.to_owned(),
            source,
        };
        for entry in std::fs::read_dir(&inner).map_err(io)? {
            let entry = entry.map_err(io)?;
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str() else {
                return Err(ReadError::NotText {
                    path: entry.path().display().to_string(),
                });
            };
            if file_name.starts_with('.') {
                continue;
            }
            if files.len() >= MAX_FILES {
                return Err(ReadError::TooMany);
            }
            let path = format!("{name}/{file_name}");
            let text = read_text(&entry.path(), &path)?;
            files.insert(path, text);
        }
    }
    Ok(SiteFiles(files))
}

fn read_text(file: &Path, path: &str) -> Result<String, ReadError> {
    let io = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let found = std::fs::metadata(file).map_err(io)?.len();
    if found > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge {
            path: path.to_owned(),
            found,
        });
    }
    let bytes = std::fs::read(file).map_err(io)?;
    String::from_utf8(bytes).map_err(|_| ReadError::NotText {
        path: path.to_owned(),
    })
}
