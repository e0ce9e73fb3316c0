//! Statement shapes: whole statements with typed holes, for arguments that are programs.
//!
//! In: a template such as `DELETE FROM customers WHERE email = '{email}'`. Out: one anchored
//! pattern. Everything outside a hole is compared byte for byte; a hole takes only characters
//! of its own class, none of which can end the text around it. So there is no list of bad
//! words: a second statement, a comment, `OR 1=1`, a look-alike letter or another spacing
//! simply are not the statement.

use regex::Regex;
use thiserror::Error;

/// Longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 4096;

/// A hole of a template: its name, the pattern of what it takes, and whether it stands in quotes.
struct Hole {
    name: &'static str,
    pattern: &'static str,
    quotes: Quotes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Required,
    Refused,
}

/// Every hole. No class has a quote, a blank, a backslash, a semicolon or a letter outside ASCII.
const HOLES: [Hole; 5] = [
    Hole {
        name: "email",
        // A local part of at most 64 characters, then two to five labels of at most 63.
        pattern: r"[a-z0-9](?:[a-z0-9._+\-]{0,62}[a-z0-9])?@[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?){1,4}",
        quotes: Quotes::Required,
    },
    Hole {
        name: "int",
        pattern: r"(?:0|[1-9][0-9]{0,17})",
        quotes: Quotes::Refused,
    },
    Hole {
        name: "uuid",
        pattern: r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        quotes: Quotes::Required,
    },
    Hole {
        name: "date",
        pattern: r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])",
        quotes: Quotes::Required,
    },
    Hole {
        name: "word",
        pattern: r"[A-Za-z0-9_]{1,64}",
        quotes: Quotes::Required,
    },
];

/// Why a template is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// It is empty or too long.
    #[error("template is {found} bytes, expected 1 to {MAX_TEMPLATE_BYTES}")]
    Length {
        /// Its length, in bytes.
        found: usize,
    },
    /// A character that a statement may not have.
    #[error("template has {found:?}, expected printable ASCII")]
    Character {
        /// The character.
        found: char,
    },
    /// Blanks that would be hard to see.
    #[error("template has two blanks in a row, or one at an end")]
    Blanks,
    /// Something that would open a second statement or a comment.
    #[error("template has {found:?}, which begins another statement or a comment")]
    Separator {
        /// What stands there.
        found: &'static str,
    },
    /// A hole of a kind that does not exist.
    #[error(
        "template has the hole {{{found}}}, expected one of {{email}} {{int}} {{uuid}} {{date}} {{word}}"
    )]
    UnknownHole {
        /// What stands between the braces.
        found: String,
    },
    /// A brace without its partner.
    #[error("template has a brace without its partner")]
    Brace,
    /// A hole that must stand between quotes, and does not, or the other way round.
    #[error("hole {{{hole}}} must {rule} single quotes")]
    Quotes {
        /// Name of the hole.
        hole: &'static str,
        /// What must be.
        rule: &'static str,
    },
    /// Quotes do not pair.
    #[error("single quotes of the template do not pair")]
    Unpaired,
    /// A number would join what stands before or after it.
    #[error("hole {{{hole}}} must have a blank, a comma or a bracket on either side")]
    Touching {
        /// Name of the hole.
        hole: &'static str,
    },
    /// The pattern cannot be built.
    #[error("template makes no pattern")]
    Pattern,
}

/// A whole statement with typed holes.
#[derive(Debug, Clone)]
pub struct Shape {
    name: String,
    template: String,
    pattern: Regex,
}

impl Shape {
    /// Compiles a template.
    ///
    /// # Errors
    /// If the template leaves anything open that a hole's class does not close.
    pub fn compile(name: &str, template: &str) -> Result<Self, ShapeError> {
        check_literal(template)?;
        let mut pattern = String::from(r"\A(?:");
        let mut rest = template;
        let mut before = String::new();
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at_checked(open).ok_or(ShapeError::Brace)?;
            let (inner, after) = tail
                .strip_prefix('{')
                .and_then(|t| t.split_once('}'))
                .ok_or(ShapeError::Brace)?;
            let hole =
                HOLES
                    .iter()
                    .find(|h| h.name == inner)
                    .ok_or_else(|| ShapeError::UnknownHole {
                        found: inner.to_owned(),
                    })?;
            before.push_str(literal);
            check_place(hole, &before, after)?;
            pattern.push_str(&regex::escape(literal));
            pattern.push_str(hole.pattern);
            rest = after;
        }
        before.push_str(rest);
        if !before.matches('\'').count().is_multiple_of(2) {
            return Err(ShapeError::Unpaired);
        }
        pattern.push_str(&regex::escape(rest));
        pattern.push_str(r")\z");
        let pattern = Regex::new(&pattern).map_err(|_| ShapeError::Pattern)?;
        Ok(Self {
            name: name.to_owned(),
            template: template.to_owned(),
            pattern,
        })
    }

    /// The name that policy knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The template.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Whether the whole of a text is this statement.
    pub(crate) fn is_whole(&self, text: &str) -> bool {
        self.pattern.is_match(text)
    }
}

fn check_literal(template: &str) -> Result<(), ShapeError> {
    if template.is_empty() || template.len() > MAX_TEMPLATE_BYTES {
        return Err(ShapeError::Length {
            found: template.len(),
        });
    }
    if let Some(found) = template
        .chars()
        .find(|c| !c.is_ascii_graphic() && *c != ' ')
    {
        return Err(ShapeError::Character { found });
    }
    if template.contains("  ") || template.starts_with(' ') || template.ends_with(' ') {
        return Err(ShapeError::Blanks);
    }
    for found in [";", "--", "/*", "*/", "#", "\\"] {
        if template.contains(found) {
            return Err(ShapeError::Separator { found });
        }
    }
    Ok(())
}

/// Whether a hole stands where its class closes it in. `before` has no holes in it.
fn check_place(hole: &Hole, before: &str, after: &str) -> Result<(), ShapeError> {
    let inside = !before.matches('\'').count().is_multiple_of(2);
    match hole.quotes {
        Quotes::Required if !(inside && before.ends_with('\'') && after.starts_with('\'')) => {
            Err(ShapeError::Quotes {
                hole: hole.name,
                rule: "stand directly between",
            })
        }
        Quotes::Refused if inside => Err(ShapeError::Quotes {
            hole: hole.name,
            rule: "stand outside",
        }),
        Quotes::Refused => {
            let open = |c: char| matches!(c, ' ' | ',' | '(' | ')' | '=' | '<' | '>');
            let closed_in = before.chars().next_back().is_some_and(open)
                && after.chars().next().is_none_or(open);
            if closed_in {
                Ok(())
            } else {
                Err(ShapeError::Touching { hole: hole.name })
            }
        }
        Quotes::Required => Ok(()),
    }
}

#[cfg(test)]
mod tests;
