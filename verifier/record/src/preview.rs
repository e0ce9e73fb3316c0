//! What an approver is shown: one text for one action.
//!
//! In: the facts of an action. Out: the same text on every machine, so that what a person
//! was shown can be recomputed from a disclosed record. Characters that could make a screen
//! show something else (controls, direction marks, anything outside printable ASCII) are
//! written as `\u{…}`, so a look-alike letter is visible. What may keep its letters is held
//! against [`is_hostile`].
//!
//! Spec: `docs/spec/record.md`, "Preview".

use crate::body::Mode;

/// The facts that a preview shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preview<'a> {
    /// Tenant's name.
    pub tenant: &'a str,
    /// The agent's URN.
    pub agent: &'a str,
    /// The capability.
    pub capability: &'a str,
    /// Mode that it runs under.
    pub mode: Mode,
    /// The exact bytes of the arguments.
    pub arguments: &'a [u8],
}

impl Preview<'_> {
    /// The text. Its bytes are what the preview's commitment is over.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "Approve this action?\n\ntenant      {}\nagent       {}\ncapability  {}\nmode        {}\narguments   {}\n",
            visible(self.tenant),
            visible(self.agent),
            visible(self.capability),
            self.mode,
            visible(&String::from_utf8_lossy(self.arguments)),
        )
    }
}

/// Text in which every character is what it looks like.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            other => out.extend(other.escape_unicode()),
        }
    }
    out
}

/// Whether a character can change how the text around it is shown.
#[must_use]
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, Arabic letter mark, zero-width and direction marks, line and paragraph separators,
            // direction embeddings and isolates, invisible operators, byte order mark, interlinear and tag characters.
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_alike_letter_is_visible() {
        // The second letter of the address is U+0430, Cyrillic.
        assert_eq!(visible("c\u{430}t@example.com"), "c\\u{430}t@example.com");
    }

    #[test]
    fn a_character_that_changes_how_others_are_shown_is_hostile_and_no_other() {
        let ranges = [
            ('\0', '\u{1f}'),
            ('\u{7f}', '\u{9f}'),
            ('\u{ad}', '\u{ad}'),
            ('\u{61c}', '\u{61c}'),
            ('\u{180e}', '\u{180e}'),
            ('\u{200b}', '\u{200f}'),
            ('\u{2028}', '\u{202e}'),
            ('\u{2060}', '\u{206f}'),
            ('\u{feff}', '\u{feff}'),
            ('\u{fff9}', '\u{fffb}'),
            ('\u{e0000}', '\u{e007f}'),
        ];
        for c in '\0'..=char::MAX {
            let expected = ranges.iter().any(|(a, b)| (*a..=*b).contains(&c));
            assert_eq!(is_hostile(c), expected, "{c:?}");
        }
    }

    #[test]
    fn a_line_break_does_not_start_a_line() {
        let shown = Preview {
            tenant: "t\nmode        read_only",
            agent: "agent:a/b@1",
            capability: "c.d",
            mode: Mode::Destructive,
            arguments: b"{}",
        };
        assert_eq!(
            shown
                .text()
                .lines()
                .filter(|l| l.starts_with("mode"))
                .count(),
            1
        );
    }

    #[test]
    fn an_escape_in_the_text_differs_from_an_escaped_character() {
        assert_ne!(visible("\\u{430}"), visible("\u{430}"));
    }
}
