//! A strict reader of JSON text that never changes it.
//!
//! *In:* bytes from anybody. *Out:* the proof that they are one JSON value (RFC 8259) in UTF-8
//! without duplicate keys, within limits of size and depth, and where its upper members stand
//! in the bytes; or a named error. Numbers are kept as text: nothing here rounds.
//!
//! Two readers that see different values in the same bytes are how a call is authorized as one
//! thing and carried out as another. Hence what others accept is refused here: a key twice
//! (compared after unescaping, at every level), a lone surrogate, a control character in a
//! string, anything after the value.
//!
//! Pure: no I/O, no clock, no async.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

/// Deepest accepted nesting of objects and arrays, in levels.
///
/// Bounds the stack: the reader recurses once a level.
pub const MAX_DEPTH: usize = 64;

/// What a document may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest text, in bytes.
    pub bytes: usize,
    /// Deepest nesting, in levels; values above [`MAX_DEPTH`] count as [`MAX_DEPTH`].
    pub depth: usize,
    /// Most members noted in the upper two levels. One noted member costs about 64 bytes.
    pub members: usize,
}

impl Limits {
    /// Limits for a text of at most `bytes` bytes; 64 levels, 4,096 upper members.
    #[must_use]
    pub const fn of_bytes(bytes: usize) -> Self {
        Self {
            bytes,
            depth: MAX_DEPTH,
            members: 4096,
        }
    }
}

/// Why a text was refused. Offsets are in bytes from its start; no text is quoted, as it may
/// hold arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The text is over the limit.
    #[error("text is {found} bytes, limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("text is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// Another byte was needed.
    #[error("unexpected byte at {at}")]
    Unexpected {
        /// Where.
        at: usize,
    },
    /// The text ended inside a value.
    #[error("text ends inside a value")]
    Ended,
    /// There is more after the value.
    #[error("more text after the value at byte {at}")]
    Trailing {
        /// Where.
        at: usize,
    },
    /// One object has the same key twice.
    #[error("duplicate key at byte {at}")]
    DuplicateKey {
        /// Where one of the two stands.
        at: usize,
    },
    /// Nested too deeply.
    #[error("nested deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// Where the level opens.
        at: usize,
        /// The limit in levels.
        limit: usize,
    },
    /// An escape in a string is malformed, or half a surrogate pair.
    #[error("invalid escape in a string at byte {at}")]
    Escape {
        /// Where.
        at: usize,
    },
    /// A string holds a raw control character.
    #[error("control character in a string at byte {at}")]
    Control {
        /// Where.
        at: usize,
    },
    /// A number breaks the grammar of RFC 8259 section 6.
    #[error("malformed number at byte {at}")]
    Number {
        /// Where.
        at: usize,
    },
    /// More members in the upper two levels than wanted.
    #[error("more than {limit} members in the upper two levels")]
    TooManyMembers {
        /// The limit.
        limit: usize,
    },
}

/// What sort of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number, as text.
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// One value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value<'a> {
    /// Its text, exactly as it arrived, without surrounding white space.
    pub text: &'a str,
    /// Its range in the document, in bytes.
    pub range: Range<usize>,
    /// Its sort.
    pub kind: Kind,
}

/// A text that has been read whole and found strict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<'a> {
    text: &'a str,
    root: Span,
    members: Vec<Member<'a>>,
}

impl<'a> Document<'a> {
    /// The whole value.
    #[must_use]
    pub fn root(&self) -> Value<'a> {
        self.value_of(&self.root)
    }

    /// A member of the root object.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Value<'a>> {
        self.position(None, name)
            .map(|(_, member)| self.value_of(&member.span))
    }

    /// Names of the root object's members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members
            .iter()
            .filter(|m| m.parent.is_none())
            .map(|m| m.name.as_ref())
    }

    /// Members of the root object, in order.
    pub fn members(&self) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.children(None)
    }

    /// Members of an object that is itself a member of the root, in order; none if there is no such object.
    pub fn members_of(&self, outer: &str) -> impl Iterator<Item = (&str, Value<'a>)> {
        let parent = self.position(None, outer).map(|(index, _)| index);
        parent
            .into_iter()
            .flat_map(|index| self.children(Some(index)))
    }

    fn children(&self, parent: Option<usize>) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.members
            .iter()
            .filter(move |member| member.parent == parent)
            .map(|member| (member.name.as_ref(), self.value_of(&member.span)))
    }

    /// A member of an object that is itself a member of the root, such as `params.arguments`.
    #[must_use]
    pub fn inner(&self, outer: &str, name: &str) -> Option<Value<'a>> {
        let (index, _) = self.position(None, outer)?;
        self.position(Some(index), name)
            .map(|(_, member)| self.value_of(&member.span))
    }

    fn position(&self, parent: Option<usize>, name: &str) -> Option<(usize, &Member<'a>)> {
        self.members
            .iter()
            .enumerate()
            .find(|(_, member)| member.parent == parent && member.name == name)
    }

    fn value_of(&self, span: &Span) -> Value<'a> {
        Value {
            // The span was made by the scanner on character borders of this text.
            text: self.text.get(span.range.clone()).unwrap_or_default(),
            range: span.range.clone(),
            kind: span.kind,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    range: Range<usize>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member<'a> {
    /// Index of the member whose value holds this one; `None` in the root object.
    parent: Option<usize>,
    name: Cow<'a, str>,
    span: Span,
}

/// Reads `bytes` as one strict JSON value.
///
/// # Errors
/// [`ScanError`] names the first rule broken and where.
pub fn scan<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Document<'a>, ScanError> {
    if bytes.len() > limits.bytes {
        return Err(ScanError::TooLarge {
            found: bytes.len(),
            limit: limits.bytes,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ScanError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    let mut scanner = Scanner {
        cursor: Cursor { text, at: 0 },
        keys: Vec::new(),
        members: Vec::new(),
        depth_limit: limits.depth.min(MAX_DEPTH),
        member_limit: limits.members,
    };
    scanner.cursor.skip_space();
    let root = scanner.value(0, Noted::Root)?;
    scanner.cursor.skip_space();
    match scanner.cursor.peek() {
        None => Ok(Document {
            text,
            root,
            members: scanner.members,
        }),
        Some(_) => Err(ScanError::Trailing {
            at: scanner.cursor.at,
        }),
    }
}

/// One strict JSON value that owns its text.
///
/// Safe to place between other bytes of a message: it cannot end the message early or add to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Json {
    text: Bytes,
    kind: Kind,
}

/// Without the text, which may hold arguments of a call.
impl std::fmt::Debug for Json {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Json({:?}, {} bytes)",
            self.kind,
            self.text.len()
        )
    }
}

impl Json {
    /// Reads `bytes`; surrounding white space is not part of the value.
    ///
    /// # Errors
    /// As [`scan`].
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self, ScanError> {
        let root = scan(&bytes, limits)?.root();
        let (range, kind) = (root.range, root.kind);
        Ok(Self {
            text: bytes.slice(range),
            kind,
        })
    }

    /// The text, exactly as it arrived.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// What sort of value it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether a transport that ends messages with a line feed can carry it.
    #[must_use]
    pub fn lines(&self) -> Lines {
        if self.text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            Lines::Several
        } else {
            Lines::One
        }
    }
}

/// How many lines a text stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// No line break.
    One,
    /// At least one line break, as white space between tokens.
    Several,
}

/// Writes the canonical form of a strict JSON text: no white space, object members sorted by
/// the UTF-8 bytes of their keys, strings with the fewest escapes (`\"`, `\\`, `\b`, `\f`,
/// `\n`, `\r`, `\t`, other controls as `\u00xx` in lower case), numbers **with the text they
/// came with** (so `1.0` and `1` differ).
///
/// # Errors
/// As [`scan`].
pub fn canonical(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, ScanError> {
    let root = scan(bytes, limits)?.root();
    let mut cursor = Cursor {
        text: root.text,
        at: 0,
    };
    let mut out = Vec::with_capacity(root.text.len());
    write_canonical(&mut cursor, &mut out)?;
    Ok(out)
}

/// Recursion is bounded by the scan that came before.
fn write_canonical(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), ScanError> {
    cursor.skip_space();
    match cursor.peek() {
        Some(b'{') => {
            let mut members = Vec::new();
            cursor.advance();
            while cursor.next_item(b'}')? == Item::Another {
                let key = cursor.string()?.decoded(cursor.at)?.into_owned();
                cursor.skip_space();
                cursor.expect(b':')?;
                let mut value = Vec::new();
                write_canonical(cursor, &mut value)?;
                members.push((key, value));
            }
            members.sort();
            write_members(&members, out);
            Ok(())
        }
        Some(b'[') => {
            cursor.advance();
            out.push(b'[');
            let mut separator: &[u8] = b"";
            while cursor.next_item(b']')? == Item::Another {
                out.extend_from_slice(separator);
                separator = b",";
                write_canonical(cursor, out)?;
            }
            out.push(b']');
            Ok(())
        }
        Some(b'"') => {
            let string = cursor.string()?;
            write_string(&string.decoded(cursor.at)?, out);
            Ok(())
        }
        Some(_) => {
            let start = cursor.at;
            cursor.scalar()?;
            out.extend_from_slice(
                cursor
                    .text
                    .get(start..cursor.at)
                    .unwrap_or_default()
                    .as_bytes(),
            );
            Ok(())
        }
        None => Err(ScanError::Ended),
    }
}

fn write_members(members: &[(String, Vec<u8>)], out: &mut Vec<u8>) {
    out.push(b'{');
    let mut separator: &[u8] = b"";
    for (key, value) in members {
        out.extend_from_slice(separator);
        separator = b",";
        write_string(key, out);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

/// Appends `text` as a JSON string with the fewest escapes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            control if control < ' ' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Whose members a value's members would be noted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noted {
    Root,
    Inside(usize),
    No,
}

struct Scanner<'a> {
    cursor: Cursor<'a>,
    /// Keys of all objects now open, innermost last, each with its offset.
    keys: Vec<(Cow<'a, str>, usize)>,
    members: Vec<Member<'a>>,
    depth_limit: usize,
    member_limit: usize,
}

impl<'a> Scanner<'a> {
    /// The cursor stands on the value's first byte.
    fn value(&mut self, depth: usize, noted: Noted) -> Result<Span, ScanError> {
        let start = self.cursor.at;
        let kind = match self.cursor.peek() {
            Some(b'{') => {
                self.object(self.deeper(depth)?, noted)?;
                Kind::Object
            }
            Some(b'[') => {
                let depth = self.deeper(depth)?;
                self.cursor.advance();
                while self.cursor.next_item(b']')? == Item::Another {
                    self.value(depth, Noted::No)?;
                }
                Kind::Array
            }
            Some(b'"') => {
                self.cursor.string()?;
                Kind::String
            }
            Some(_) => self.cursor.scalar()?,
            None => return Err(ScanError::Ended),
        };
        Ok(Span {
            range: start..self.cursor.at,
            kind,
        })
    }

    fn deeper(&self, depth: usize) -> Result<usize, ScanError> {
        let depth = depth.saturating_add(1);
        if depth > self.depth_limit {
            return Err(ScanError::TooDeep {
                at: self.cursor.at,
                limit: self.depth_limit,
            });
        }
        Ok(depth)
    }

    fn object(&mut self, depth: usize, noted: Noted) -> Result<(), ScanError> {
        let first_key = self.keys.len();
        self.cursor.advance();
        while self.cursor.next_item(b'}')? == Item::Another {
            let at = self.cursor.at;
            let key = self.cursor.string()?.decoded(at)?;
            self.cursor.skip_space();
            self.cursor.expect(b':')?;
            self.cursor.skip_space();
            match noted {
                Noted::No => {
                    self.keys.push((key, at));
                    self.value(depth, Noted::No)?;
                }
                Noted::Root => {
                    self.keys.push((key.clone(), at));
                    let index = self.note(None, key)?;
                    let span = self.value(depth, Noted::Inside(index))?;
                    self.settle(index, span);
                }
                Noted::Inside(parent) => {
                    self.keys.push((key.clone(), at));
                    let index = self.note(Some(parent), key)?;
                    let span = self.value(depth, Noted::No)?;
                    self.settle(index, span);
                }
            }
        }
        distinct(self.keys.get_mut(first_key..).unwrap_or_default())?;
        self.keys.truncate(first_key);
        Ok(())
    }

    fn note(&mut self, parent: Option<usize>, name: Cow<'a, str>) -> Result<usize, ScanError> {
        let index = self.members.len();
        if index >= self.member_limit {
            return Err(ScanError::TooManyMembers {
                limit: self.member_limit,
            });
        }
        self.members.push(Member {
            parent,
            name,
            span: Span {
                range: 0..0,
                kind: Kind::Null,
            },
        });
        Ok(index)
    }

    fn settle(&mut self, index: usize, span: Span) {
        if let Some(member) = self.members.get_mut(index) {
            member.span = span;
        }
    }
}

/// Sorting, not comparing pairs, so that an object of many keys costs n log n.
fn distinct(keys: &mut [(Cow<'_, str>, usize)]) -> Result<(), ScanError> {
    if keys.len() < 2 {
        return Ok(());
    }
    keys.sort_unstable();
    for pair in keys.windows(2) {
        if let [(first, _), (second, at)] = pair
            && first == second
        {
            return Err(ScanError::DuplicateKey { at: *at });
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Another,
    End,
}

/// A string's text between the quotes, not yet unescaped.
struct RawString<'a> {
    text: &'a str,
    escapes: Escapes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Some,
    None,
}

impl<'a> RawString<'a> {
    fn decoded(&self, at: usize) -> Result<Cow<'a, str>, ScanError> {
        match self.escapes {
            Escapes::None => Ok(Cow::Borrowed(self.text)),
            Escapes::Some => serde_json::from_str::<String>(&format!("\"{}\"", self.text))
                .map(Cow::Owned)
                .map_err(|_| ScanError::Escape { at }),
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn advance(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.advance();
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), ScanError> {
        match self.peek() {
            Some(found) if found == byte => {
                self.advance();
                Ok(())
            }
            Some(_) => Err(ScanError::Unexpected { at: self.at }),
            None => Err(ScanError::Ended),
        }
    }

    /// After `{`, `[` or an item: steps over a comma to the next item, or over the end.
    fn next_item(&mut self, end: u8) -> Result<Item, ScanError> {
        // The byte before tells whether this is the first item; `{` and `[` cannot end an item.
        let before = self
            .at
            .checked_sub(1)
            .and_then(|at| self.text.as_bytes().get(at))
            .copied();
        let opener = if end == b'}' { b'{' } else { b'[' };
        let first = before == Some(opener);
        self.skip_space();
        match self.peek() {
            Some(byte) if byte == end => {
                self.advance();
                return Ok(Item::End);
            }
            Some(b',') if !first => {
                self.advance();
                self.skip_space();
            }
            Some(_) if first => {}
            Some(_) => return Err(ScanError::Unexpected { at: self.at }),
            None => return Err(ScanError::Ended),
        }
        match self.peek() {
            Some(_) => Ok(Item::Another),
            None => Err(ScanError::Ended),
        }
    }

    fn string(&mut self) -> Result<RawString<'a>, ScanError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escapes = Escapes::None;
        loop {
            let plain = self
                .rest()
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
                .ok_or(ScanError::Ended)?;
            self.at = self.at.saturating_add(plain);
            match self.peek() {
                Some(b'"') => {
                    let text = self.text.get(start..self.at).unwrap_or_default();
                    self.advance();
                    return Ok(RawString { text, escapes });
                }
                Some(b'\\') => {
                    escapes = Escapes::Some;
                    self.escape()?;
                }
                Some(_) => return Err(ScanError::Control { at: self.at }),
                None => return Err(ScanError::Ended),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ScanError> {
        let at = self.at;
        self.advance();
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.advance();
                Ok(())
            }
            Some(b'u') => {
                self.advance();
                match self.four_hex(at)? {
                    0xd800..=0xdbff => {
                        if !self.rest().starts_with(b"\\u") {
                            return Err(ScanError::Escape { at });
                        }
                        self.at = self.at.saturating_add(2);
                        match self.four_hex(at)? {
                            0xdc00..=0xdfff => Ok(()),
                            _ => Err(ScanError::Escape { at }),
                        }
                    }
                    0xdc00..=0xdfff => Err(ScanError::Escape { at }),
                    _ => Ok(()),
                }
            }
            Some(_) => Err(ScanError::Escape { at }),
            None => Err(ScanError::Ended),
        }
    }

    fn four_hex(&mut self, at: usize) -> Result<u16, ScanError> {
        let end = self.at.saturating_add(4);
        let digits = self
            .text
            .get(self.at..end)
            .ok_or(ScanError::Escape { at })?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ScanError::Escape { at });
        }
        self.at = end;
        u16::from_str_radix(digits, 16).map_err(|_| ScanError::Escape { at })
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<Kind, ScanError> {
        for (word, kind) in [
            ("true", Kind::True),
            ("false", Kind::False),
            ("null", Kind::Null),
        ] {
            if self.rest().starts_with(word.as_bytes()) {
                self.at = self.at.saturating_add(word.len());
                return Ok(kind);
            }
        }
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(ScanError::Unexpected { at: self.at }),
            None => Err(ScanError::Ended),
        }
    }

    fn number(&mut self) -> Result<Kind, ScanError> {
        let at = self.at;
        if self.peek() == Some(b'-') {
            self.advance();
        }
        if self.peek() == Some(b'0') {
            self.advance();
        } else {
            self.digits(at)?;
        }
        if self.peek() == Some(b'.') {
            self.advance();
            self.digits(at)?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.advance();
            if let Some(b'+' | b'-') = self.peek() {
                self.advance();
            }
            self.digits(at)?;
        }
        match self.peek() {
            // `01`, `1.2.3` and the like.
            Some(b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E') => Err(ScanError::Number { at }),
            _ => Ok(Kind::Number),
        }
    }

    fn digits(&mut self, at: usize) -> Result<(), ScanError> {
        let count = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 {
            return Err(ScanError::Number { at });
        }
        self.at = self.at.saturating_add(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits::of_bytes(1024);

    fn refused(text: &str) -> ScanError {
        scan(text.as_bytes(), &LIMITS).expect_err("must be refused")
    }

    #[test]
    fn the_range_of_arguments_is_found_with_its_exact_text() {
        let text =
            r#" {"method":"tools/call","params":{"name":"x","arguments":{ "n": 1.50e+1 }}} "#;
        let document = scan(text.as_bytes(), &LIMITS).unwrap();
        let value = document.inner("params", "arguments").unwrap();
        assert_eq!(value.text, r#"{ "n": 1.50e+1 }"#);
        assert_eq!(&text[value.range], value.text);
        assert_eq!(value.kind, Kind::Object);
    }

    #[test]
    fn a_member_of_an_inner_object_is_not_taken_for_one_of_the_root() {
        let document = scan(br#"{"a":{"b":1},"c":[{"b":2}]}"#, &LIMITS).unwrap();
        assert_eq!(document.member("b"), None);
        assert_eq!(document.inner("c", "b"), None);
    }

    #[test]
    fn an_escaped_member_name_is_found_by_its_meaning() {
        let document = scan(br#"{"m\u0065thod":"x"}"#, &LIMITS).unwrap();
        assert_eq!(document.member("method").unwrap().text, "\"x\"");
    }

    #[test]
    fn a_key_twice_is_refused() {
        assert_eq!(
            refused(r#"{"a":1,"a":2}"#),
            ScanError::DuplicateKey { at: 7 }
        );
    }

    #[test]
    fn a_key_twice_is_refused_when_one_is_escaped() {
        assert!(matches!(
            refused(r#"{"a":1,"\u0061":2}"#),
            ScanError::DuplicateKey { .. }
        ));
    }

    #[test]
    fn a_key_twice_is_refused_deep_inside_an_array() {
        assert!(matches!(
            refused(r#"[[{"x":{"a":1,"b":2,"a":3}}]]"#),
            ScanError::DuplicateKey { .. }
        ));
    }

    #[test]
    fn the_same_key_in_two_objects_is_fine() {
        assert!(scan(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#, &LIMITS).is_ok());
    }

    #[test]
    fn sixty_four_levels_are_read_and_one_more_is_refused() {
        let nest = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(scan(nest(64).as_bytes(), &LIMITS).is_ok());
        assert_eq!(refused(&nest(65)), ScanError::TooDeep { at: 64, limit: 64 });
    }

    #[test]
    fn a_text_over_the_limit_is_refused_before_it_is_read() {
        let limits = Limits::of_bytes(3);
        assert_eq!(
            scan(b"\xff\xff\xff\xff", &limits),
            Err(ScanError::TooLarge { found: 4, limit: 3 })
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        assert_eq!(
            scan(b"\"a\xff\"", &LIMITS),
            Err(ScanError::NotUtf8 { at: 2 })
        );
    }

    #[test]
    fn a_lone_surrogate_is_refused() {
        assert!(matches!(refused(r#""\ud800x""#), ScanError::Escape { .. }));
        assert!(matches!(refused(r#""\udc00""#), ScanError::Escape { .. }));
        assert!(matches!(
            refused(r#""\ud800\u0041""#),
            ScanError::Escape { .. }
        ));
    }

    #[test]
    fn a_surrogate_pair_is_read() {
        assert!(scan(br#""\ud83d\ude00""#, &LIMITS).is_ok());
    }

    #[test]
    fn a_raw_control_character_is_refused() {
        assert_eq!(refused("\"a\nb\""), ScanError::Control { at: 2 });
    }

    #[test]
    fn more_after_the_value_is_refused() {
        assert_eq!(refused("{} {}"), ScanError::Trailing { at: 3 });
    }

    #[test]
    fn too_many_upper_members_are_refused() {
        let limits = Limits {
            members: 1,
            ..LIMITS
        };
        assert_eq!(
            scan(br#"{"a":1,"b":2}"#, &limits),
            Err(ScanError::TooManyMembers { limit: 1 })
        );
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "\"",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{,}",
            "[,]",
            "[1,]",
            "[1 2]",
            "{1:2}",
            "{a:1}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "--1",
            "1.2.3",
            "nul",
            "truefalse",
            "NaN",
            "Infinity",
            "'a'",
            "[1}",
            "{]",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u1",
            "/**/1",
            "\u{feff}1",
            "{\"a\" 1}",
            "[[1],,2]",
            "{\"a\":1 \"b\":2}",
            "[[]",
            "{}}",
            "[{\"a\":[}]",
        ] {
            assert!(scan(text.as_bytes(), &LIMITS).is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn the_scanner_agrees_with_another_parser_on_what_is_json() {
        for text in [
            "0",
            "-0",
            "-0.0e-0",
            "1E+5",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "\"\"",
            "\"\\/\"",
            " [ 1 , [ ] , { \"a\" : null } ] ",
            "[[[]],{}]",
            "true",
            "{\"\":{}}",
            "[\"[\",\"{\"]",
            "[\"{\" , 1]",
        ] {
            assert!(
                scan(text.as_bytes(), &LIMITS).is_ok(),
                "{text:?} was refused"
            );
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
        }
    }

    #[test]
    fn a_text_with_any_byte_changed_is_read_only_if_another_parser_reads_it_too() {
        let text = br#"{"a":[1.5e-3,-0,true,{"b":"\u00e9\ud83d\ude00 \n"}],"c":{"d":null},"e":""}"#;
        for at in 0..text.len() {
            for byte in 0..=255 {
                let mut changed = text.to_vec();
                changed[at] = byte;
                let theirs = serde_json::from_slice::<serde_json::Value>(&changed);
                match scan(&changed, &LIMITS) {
                    Ok(_) => assert!(theirs.is_ok(), "{changed:?}"),
                    Err(ScanError::DuplicateKey { .. }) => {}
                    Err(_) => assert!(theirs.is_err(), "{changed:?}"),
                }
            }
        }
    }

    #[test]
    fn no_beginning_of_a_text_is_read() {
        let text = br#"{"a":[1.5e-3,true,{"b":"\u00e9"}]}"#;
        for end in 0..text.len() {
            assert!(scan(&text[..end], &LIMITS).is_err(), "{end}");
        }
    }

    #[test]
    fn the_canonical_form_sorts_keys_and_keeps_the_text_of_numbers() {
        let text = r#" { "b" : [ 1.0 , 1E5, "\u0041\/\u000a\u0001" ] , "a" : { "z":null, "\u0062":true } } "#;
        assert_eq!(
            String::from_utf8(canonical(text.as_bytes(), &LIMITS).unwrap()).unwrap(),
            r#"{"a":{"b":true,"z":null},"b":[1.0,1E5,"A/\n\u0001"]}"#
        );
    }

    #[test]
    fn the_canonical_form_of_a_canonical_form_is_itself() {
        let once = canonical(br#"{"k":"\ud83d\ude00\t","j":[[],{}],"i":-0.0}"#, &LIMITS).unwrap();
        assert_eq!(canonical(&once, &LIMITS).unwrap(), once);
    }

    #[test]
    fn a_value_on_several_lines_says_so() {
        let lines = |text: &'static str| {
            Json::parse(Bytes::from_static(text.as_bytes()), &LIMITS)
                .unwrap()
                .lines()
        };
        assert_eq!(lines("{\n}"), Lines::Several);
        assert_eq!(lines("{\"a\":\"\\n\"}\n"), Lines::One);
    }
}
