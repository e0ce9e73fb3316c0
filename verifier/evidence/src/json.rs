//! Strict JSON: what vendors put into their collateral and claims, and nothing besides.
//!
//! In: bytes. Out: a tree whose every value knows the bytes it stood in ([`Json::raw`]), because vendors
//! sign objects as they were written, not as anybody would write them again. Refused are a name that
//! stands twice in one object, numbers that are not plain integers, depth and width beyond any format
//! here, and bytes after the end. White space between tokens is allowed, as RFC 8259 has it.
//!
//! [`Fields`] takes members by name and refuses those that nobody asked for.
//!
//! Spec: RFC 8259.

use std::borrow::Cow;

use thiserror::Error;

/// Longest text, in bytes (256 KiB). TCB infos seen have up to 5 KiB, claims of a paravisor 2 KiB.
pub(crate) const MAX_JSON_BYTES: usize = 256 * 1024;

/// Deepest nesting. TCB infos have 6.
const MAX_DEPTH: u8 = 12;

/// Most members of an object, which are compared with each other. TCB infos have 12.
const MAX_MEMBERS: usize = 128;

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// Too long.
    #[error("json is {found} bytes, limit is {MAX_JSON_BYTES}")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// Not JSON, or not the strict kind.
    #[error("json at byte {at}: {why}")]
    Form {
        /// Where, from 0.
        at: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A member is missing.
    #[error("{object} has no member {name}")]
    Missing {
        /// Of what.
        object: &'static str,
        /// Which.
        name: &'static str,
    },
    /// A member has another type, or a value it cannot have.
    #[error("{object} has a member {name} that is not {expected}")]
    Value {
        /// Of what.
        object: &'static str,
        /// Which.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A member that this format does not have.
    #[error("{object} has an unknown member {name:?}")]
    Unknown {
        /// Of what.
        object: &'static str,
        /// Its name.
        name: String,
    },
}

/// A value and the bytes it stood in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Json<'a> {
    /// Exactly the bytes of the value, without white space around it.
    pub(crate) raw: &'a [u8],
    /// What they say.
    pub(crate) value: Value<'a>,
}

/// What a text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// The only numbers there are here: 0 to 2^64 - 1, without sign, fraction or exponent.
    Number(u64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads a text, all of the bytes.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, JsonError> {
        if bytes.len() > MAX_JSON_BYTES {
            return Err(JsonError::TooLong { found: bytes.len() });
        }
        let mut scanner = Scanner { bytes, at: 0 };
        scanner.space();
        let json = scanner.value(MAX_DEPTH)?;
        scanner.space();
        if scanner.peek().is_some() {
            return Err(scanner.wrong("bytes are left after the value"));
        }
        Ok(json)
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn wrong(&self, why: &'static str) -> JsonError {
        JsonError::Form { at: self.at, why }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.step();
        }
    }

    fn eat(&mut self, byte: u8, why: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.wrong(why));
        }
        self.step();
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], value: Value<'a>) -> Result<Value<'a>, JsonError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.wrong("expected a value"));
        }
        self.at = self.at.saturating_add(word.len());
        Ok(value)
    }

    fn value(&mut self, depth: u8) -> Result<Json<'a>, JsonError> {
        let from = self.at;
        let below = depth.checked_sub(1).ok_or(self.wrong("nested too deep"))?;
        let value = match self.peek() {
            Some(b'{') => self.object(below)?,
            Some(b'[') => self.list(below)?,
            Some(b'"') => Value::Text(self.text()?),
            Some(b'0'..=b'9') => Value::Number(self.number()?),
            Some(b't') => self.word(b"true", Value::Bool(true))?,
            Some(b'f') => self.word(b"false", Value::Bool(false))?,
            Some(b'n') => self.word(b"null", Value::Null)?,
            Some(_) | None => return Err(self.wrong("expected a value")),
        };
        let raw = self.bytes.get(from..self.at).unwrap_or_default();
        Ok(Json { raw, value })
    }

    fn object(&mut self, depth: u8) -> Result<Value<'a>, JsonError> {
        let mut members: Vec<(Cow<'a, str>, Json<'a>)> = Vec::new();
        self.step();
        self.space();
        if self.peek() == Some(b'}') {
            self.step();
            return Ok(Value::Object(members));
        }
        loop {
            let name = self.text()?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err(self.wrong("a name stands twice in one object"));
            }
            if members.len() >= MAX_MEMBERS {
                return Err(self.wrong("an object has too many members"));
            }
            self.space();
            self.eat(b':', "expected a colon")?;
            self.space();
            members.push((name, self.value(depth)?));
            self.space();
            if self.peek() == Some(b'}') {
                self.step();
                return Ok(Value::Object(members));
            }
            self.eat(b',', "expected a comma or the end of an object")?;
            self.space();
        }
    }

    fn list(&mut self, depth: u8) -> Result<Value<'a>, JsonError> {
        let mut items = Vec::new();
        self.step();
        self.space();
        if self.peek() == Some(b']') {
            self.step();
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.peek() == Some(b']') {
                self.step();
                return Ok(Value::List(items));
            }
            self.eat(b',', "expected a comma or the end of a list")?;
            self.space();
        }
    }

    fn number(&mut self) -> Result<u64, JsonError> {
        let first = self.peek();
        let mut value = 0_u64;
        let from = self.at;
        while let Some(digit) = self.peek().and_then(|b| b.checked_sub(b'0')) {
            if digit > 9 {
                break;
            }
            value = value
                .checked_mul(10)
                .and_then(|v| v.checked_add(u64::from(digit)))
                .ok_or(self.wrong("a number is too large"))?;
            self.step();
        }
        let has_more = self.at > from.saturating_add(1);
        if first == Some(b'0') && has_more {
            return Err(self.wrong("a number begins with a zero"));
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(self.wrong("a number is not an integer"));
        }
        Ok(value)
    }

    fn text(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.eat(b'"', "expected a string")?;
        let from = self.at;
        // Filled only if an escape stands in it.
        let mut unescaped: Option<String> = None;
        let mut copied = from;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let piece = self.utf8(copied, self.at)?;
                    self.step();
                    let character = self.escape()?;
                    let text = unescaped.get_or_insert_default();
                    text.push_str(piece);
                    text.push(character);
                    copied = self.at;
                }
                Some(0x00..=0x1f) => return Err(self.wrong("a control character in a string")),
                Some(_) => self.step(),
                None => return Err(self.wrong("a string does not end")),
            }
        }
        let last = self.utf8(copied, self.at)?;
        self.step();
        Ok(match unescaped {
            None => Cow::Borrowed(last),
            Some(mut text) => {
                text.push_str(last);
                Cow::Owned(text)
            }
        })
    }

    fn utf8(&self, from: usize, to: usize) -> Result<&'a str, JsonError> {
        let bytes = self.bytes.get(from..to).unwrap_or_default();
        core::str::from_utf8(bytes).map_err(|_| self.wrong("a string is not utf-8"))
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let escape = self.peek();
        self.step();
        match escape {
            Some(b'"') => Ok('"'),
            Some(b'\\') => Ok('\\'),
            Some(b'/') => Ok('/'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => {
                let unit = self.unit()?;
                // No format here needs a character beyond the basic plane, so halves of pairs are refused.
                char::from_u32(unit).ok_or(self.wrong("an escape is half of a pair"))
            }
            Some(_) | None => Err(self.wrong("an unknown escape")),
        }
    }

    fn unit(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0_u32;
        for _ in 0..4 {
            let digit = self
                .peek()
                .and_then(|b| char::from(b).to_digit(16))
                .ok_or(self.wrong("an escape without four digits"))?;
            unit = unit.wrapping_shl(4) | digit;
            self.step();
        }
        Ok(unit)
    }
}

/// Members of one object, each taken once by its name.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'j, 'a> {
    object: &'static str,
    left: Vec<&'j (Cow<'a, str>, Json<'a>)>,
}

impl<'j, 'a> Fields<'j, 'a> {
    /// The members of a value that has to be an object.
    pub(crate) fn of(json: &'j Json<'a>, object: &'static str) -> Result<Self, JsonError> {
        match &json.value {
            Value::Object(members) => Ok(Self {
                object,
                left: members.iter().collect(),
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                Err(JsonError::Value {
                    object,
                    name: "itself",
                    expected: "an object",
                })
            }
        }
    }

    /// A member that may be absent.
    pub(crate) fn optional(&mut self, name: &'static str) -> Option<&'j Json<'a>> {
        let place = self.left.iter().position(|(known, _)| known == name)?;
        Some(&self.left.swap_remove(place).1)
    }

    /// A member.
    pub(crate) fn take(&mut self, name: &'static str) -> Result<&'j Json<'a>, JsonError> {
        let object = self.object;
        self.optional(name)
            .ok_or(JsonError::Missing { object, name })
    }

    /// That a member has another value than it may have.
    pub(crate) fn wrong(&self, name: &'static str, expected: &'static str) -> JsonError {
        JsonError::Value {
            object: self.object,
            name,
            expected,
        }
    }

    /// A string.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<&'j str, JsonError> {
        match &self.take(name)?.value {
            Value::Text(text) => Ok(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Object(_) => {
                Err(self.wrong(name, "a string"))
            }
        }
    }

    /// An integer.
    pub(crate) fn number<N: TryFrom<u64>>(&mut self, name: &'static str) -> Result<N, JsonError> {
        let wrong = |fields: &Self| fields.wrong(name, "an integer in its range");
        match self.take(name)?.value {
            Value::Number(number) => N::try_from(number).map_err(|_| wrong(self)),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Object(_) => {
                Err(wrong(self))
            }
        }
    }

    /// A list.
    pub(crate) fn list(&mut self, name: &'static str) -> Result<&'j [Json<'a>], JsonError> {
        let json = self.take(name)?;
        self.items(json, name)
    }

    /// The items of a member that has to be a list.
    pub(crate) fn items(
        &self,
        json: &'j Json<'a>,
        name: &'static str,
    ) -> Result<&'j [Json<'a>], JsonError> {
        match &json.value {
            Value::List(items) => Ok(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Object(_) => {
                Err(self.wrong(name, "a list"))
            }
        }
    }

    /// Exactly so many bytes, written in hexadecimal digits of either case.
    pub(crate) fn hex<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], JsonError> {
        let text = self.text(name)?;
        let wrong = self.wrong(name, "hexadecimal digits of the right count");
        let bytes = hex_bytes(text).ok_or(wrong.clone())?;
        bytes.try_into().map_err(|_| wrong)
    }

    /// Names of the members that nobody took, each cut to a length that a message has room for.
    pub(crate) fn names(&self) -> Vec<String> {
        self.left
            .iter()
            .map(|(name, _)| name.chars().take(40).collect())
            .collect()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), JsonError> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(JsonError::Unknown {
                object: self.object,
                // A name of any length may stand there; a message has room for a few characters.
                name: name.chars().take(40).collect(),
            }),
        }
    }
}

/// Bytes of an even number of hexadecimal digits.
pub(crate) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)?.wrapping_shl(4) | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> &'static str {
        match Json::parse(text.as_bytes()) {
            Err(JsonError::Form { why, .. }) => why,
            other => panic!("{text} gave {other:?}"),
        }
    }

    #[test]
    fn a_value_knows_the_bytes_it_stood_in() {
        let text = br#" {"a": {"b" : [1, "x\n" ]} , "signature":"00"} "#;
        let json = Json::parse(text).unwrap();
        let mut fields = Fields::of(&json, "it").unwrap();
        assert_eq!(fields.take("a").unwrap().raw, br#"{"b" : [1, "x\n" ]}"#);
        assert_eq!(fields.hex::<1>("signature").unwrap(), [0]);
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn escapes_are_taken_off() {
        let json = Json::parse(br#""a\"\\\/\b\f\n\r\t\u00e9z""#).unwrap();
        let text = "a\"\\/\u{8}\u{c}\n\r\t\u{e9}z".into();
        assert_eq!(json.value, Value::Text(text));
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_written() {
        let why = "a name stands twice in one object";
        assert_eq!(refusal(r#"{"a":1,"a":1}"#), why);
        assert_eq!(refusal(r#"{"a":1,"\u0061":1}"#), why);
        assert_eq!(refusal(r#"{"x":{"a":1,"b":2,"a":1}}"#), why);
    }

    #[test]
    fn numbers_are_plain_integers() {
        assert_eq!(refusal("01"), "a number begins with a zero");
        assert_eq!(refusal("1.0"), "a number is not an integer");
        assert_eq!(refusal("1e3"), "a number is not an integer");
        assert_eq!(refusal("-1"), "expected a value");
        assert_eq!(refusal("18446744073709551616"), "a number is too large");
        let most = Json::parse(b"18446744073709551615").unwrap();
        assert_eq!(most.value, Value::Number(u64::MAX));
        assert_eq!(Json::parse(b"0").unwrap().value, Value::Number(0));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "\"a",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "tru",
            "nul",
            "nulls",
            "true false",
            "[1 2]",
            "{\"a\" 1}",
            "\u{feff}1",
            "1,",
            "\"\n\"",
            "\"\u{1}\"",
            "+1",
            "NaN",
        ] {
            let found = Json::parse(text.as_bytes());
            assert!(
                matches!(found, Err(JsonError::Form { .. })),
                "{text}: {found:?}"
            );
        }
        let found = Json::parse(b"\"\xff\"");
        assert!(matches!(found, Err(JsonError::Form { .. })), "{found:?}");
    }

    #[test]
    fn depth_width_and_length_have_limits() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(deep(12).as_bytes()).is_ok());
        assert_eq!(refusal(&deep(13)), "nested too deep");
        let wide = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Json::parse(wide(128).as_bytes()).is_ok());
        assert_eq!(refusal(&wide(129)), "an object has too many members");
        let long = |bytes: usize| [b"0".to_vec(), vec![b' '; bytes - 1]].concat();
        assert!(Json::parse(&long(262_144)).is_ok());
        let found = 262_145;
        assert_eq!(Json::parse(&long(found)), Err(JsonError::TooLong { found }));
    }

    #[test]
    fn a_member_is_missing_unknown_or_of_another_type_by_name() {
        let json = Json::parse(br#"{"n":256,"t":"zz","l":[],"o":{}}"#).unwrap();
        let fields = || Fields::of(&json, "it").unwrap();
        let said = |error: JsonError| error.to_string();
        assert_eq!(said(fields().text("x").unwrap_err()), "it has no member x");
        assert_eq!(
            said(fields().text("n").unwrap_err()),
            "it has a member n that is not a string"
        );
        assert_eq!(
            said(fields().number::<u8>("n").unwrap_err()),
            "it has a member n that is not an integer in its range"
        );
        assert!(fields().number::<u16>("t").is_err());
        assert_eq!(fields().number::<u16>("n"), Ok(256));
        assert!(fields().hex::<1>("t").is_err());
        assert!(fields().list("o").is_err());
        assert!(Fields::of(&Json::parse(b"[]").unwrap(), "it").is_err());
        assert_eq!(
            said(fields().end().unwrap_err()),
            "it has an unknown member \"n\""
        );
    }

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(hex_bytes("0aFf"), Some(vec![0x0a, 0xff]));
        assert_eq!(hex_bytes(""), Some(vec![]));
        for text in ["0", "0g", "é", " 0", "+1"] {
            assert_eq!(hex_bytes(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_here_another_reader_reads_alike(text in "[\\[\\]{}:,\"a0-9 \\\\ntu.e-]{0,40}") {
            if let Ok(json) = Json::parse(text.as_bytes()) {
                let other: serde_json::Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(plain(&json), other);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&bytes);
        }
    }

    fn plain(json: &Json<'_>) -> serde_json::Value {
        match &json.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Number(n) => (*n).into(),
            Value::Text(t) => t.as_ref().into(),
            Value::List(items) => items.iter().map(plain).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (name.to_string(), plain(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}
