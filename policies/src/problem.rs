//! What is wrong with a site, and where.
//!
//! In: the text of a file and a byte offset. Out: [`Problems`], each with file and line, in
//! words that say what was found and what was expected. Reading goes on after a problem, so
//! that one run shows them all. Site files hold no secrets, so their words may be quoted.

use std::fmt;
use std::ops::Range;
use thiserror::Error;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The file is not well-formed, or has a key that does not exist.
    #[error("{0}")]
    Syntax(String),
    /// A value is not one of those that the key can have.
    #[error("{key} is {found:?}, expected {expected}")]
    Value {
        /// Key in the file.
        key: String,
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: String,
    },
    /// A key is absent.
    #[error("{key} is missing, expected {expected}")]
    Missing {
        /// Key in the file.
        key: String,
        /// What should stand there.
        expected: String,
    },
    /// The site lacks a file.
    #[error("the file is missing")]
    MissingFile,
    /// A file that a site does not have.
    #[error("this file has no place in a site, expected {expected}")]
    UnexpectedFile {
        /// What could be there.
        expected: &'static str,
    },
    /// Two things have one name.
    #[error("{what} {name:?} is already declared in {first}")]
    Duplicate {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// File of the first declaration.
        first: String,
    },
    /// A name that nothing has.
    #[error("{what} {name:?} is not declared in this site")]
    Unknown {
        /// Kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An input schema cannot be enforced or shown to policy.
    #[error("input schema: {0}")]
    InputSchema(String),
    /// A policy is ill-typed, or says what it cannot.
    #[error("policy {id:?}: {message}")]
    Policy {
        /// Identifier of the policy.
        id: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is too much of something.
    #[error("{found} {what}, limit is {limit}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// A problem and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Path inside the site.
    pub file: String,
    /// Line, from 1, where one can be named.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            problem,
        } = self;
        match line {
            Some(line) => write!(f, "{file}:{line}: {problem}"),
            None => write!(f, "{file}: {problem}"),
        }
    }
}

/// Everything that is wrong with a site; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Problems(Vec<Located>);

impl Problems {
    /// The problems, in order of file and line.
    #[must_use]
    pub fn all(&self) -> &[Located] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, p)| {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{p}")
        })
    }
}

/// A file under reading: its name, its text, and where its lines begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// The line, from 1, of a byte offset.
    pub(crate) fn line(&self, offset: usize) -> usize {
        let upto = self
            .text
            .as_bytes()
            .get(..offset)
            .unwrap_or(self.text.as_bytes());
        upto.iter()
            .filter(|b| **b == b'\n')
            .count()
            .saturating_add(1)
    }
}

/// Where the lines of a text begin, for many look-ups in a large file.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        Self(
            text.bytes()
                .enumerate()
                .filter(|(_, b)| *b == b'\n')
                .map(|(at, _)| at)
                .collect(),
        )
    }

    /// The line, from 1, of a byte offset.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.0
            .partition_point(|newline| *newline < offset)
            .saturating_add(1)
    }
}

/// Collects problems while reading goes on.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Located>);

impl Report {
    /// Notes a problem at a span of a file.
    pub(crate) fn at(&mut self, source: Source<'_>, span: Range<usize>, problem: Problem) {
        self.line(source.file, Some(source.line(span.start)), problem);
    }

    /// Notes a problem of a whole file.
    pub(crate) fn file(&mut self, file: &str, problem: Problem) {
        self.line(file, None, problem);
    }

    /// Notes a problem at a known line.
    pub(crate) fn line(&mut self, file: &str, line: Option<usize>, problem: Problem) {
        self.0.push(Located {
            file: file.to_owned(),
            line,
            problem,
        });
    }

    /// Notes a value that is not one of those expected.
    pub(crate) fn value(
        &mut self,
        source: Source<'_>,
        span: Range<usize>,
        key: &str,
        found: &str,
        expected: impl Into<String>,
    ) {
        self.at(
            source,
            span,
            Problem::Value {
                key: key.to_owned(),
                found: found.to_owned(),
                expected: expected.into(),
            },
        );
    }

    /// How many problems there are so far.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value, unless there were problems.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        self.0
            .sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(Problems(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_to_count_lines_agree(text in "[a\n]{0,20}", offset in 0usize..21) {
            let source = Source { file: "f", text: &text };
            let offset = offset.min(text.len());
            prop_assert_eq!(Lines::of(&text).line(offset), source.line(offset));
        }
    }
}
