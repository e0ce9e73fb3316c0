//! Deterministic CBOR, and nothing else.
//!
//! In: bytes from anywhere. Out: values, or the first thing that is wrong and where.
//! Reading accepts exactly what writing produces (RFC 8949 §4.2.1, narrowed): shortest
//! heads, definite lengths, map keys ascending and unique, no floats, no simple values
//! but `false` and `true`, tags only where the format has one. So a value has one
//! encoding, and re-encoding what was read gives the bytes that were read.
//!
//! Spec: `docs/spec/record.md`, "Encoding".

use thiserror::Error;

/// Deepest nesting of arrays and maps that is read.
///
/// The deepest value of the format (the groups of an approver in a bundle's registry) needs 5.
pub const MAX_DEPTH: u8 = 16;

/// Most items of an array and most pairs of a map that are read.
///
/// Bounds memory: an empty text takes one byte here and 24 in memory, so an array of the
/// largest artifact's size would cost a gigabyte; this many cost 6 MiB. The longest arrays of
/// the format are the entries of one erasure (below 65,536) and the agents of a registry.
pub const MAX_ITEMS: u64 = 1 << 18;

/// Why bytes are not a value of this format. Offsets count from the start of the input, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CborError {
    /// The input ended inside a value.
    #[error("input ends at byte {at} inside a value")]
    Truncated {
        /// Where more bytes were needed.
        at: usize,
    },
    /// Bytes follow the value.
    #[error("{count} bytes follow the value that ends at byte {at}")]
    Trailing {
        /// Where the value ended.
        at: usize,
        /// How many bytes follow.
        count: usize,
    },
    /// Another type of item was expected.
    #[error("byte {at}: expected {expected}")]
    Unexpected {
        /// Where the item starts.
        at: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// A head is not in its shortest form, or its length is indefinite or reserved.
    #[error("byte {at}: head is not in its shortest definite form")]
    NotShortest {
        /// Where the head starts.
        at: usize,
    },
    /// Map keys are not strictly ascending, or one is repeated.
    #[error("byte {at}: map key {key} is out of order or repeated")]
    KeyOrder {
        /// Where the key starts.
        at: usize,
        /// The key.
        key: i64,
    },
    /// A required key is absent.
    #[error("map that starts at byte {at} lacks key {key}, or has it after a higher one")]
    MissingKey {
        /// Where the map starts.
        at: usize,
        /// The absent key.
        key: i64,
    },
    /// A key that this map does not have.
    #[error("byte {at}: key {key} is not known in this map")]
    UnknownKey {
        /// Where the key starts.
        at: usize,
        /// The key.
        key: i64,
    },
    /// Text is not UTF-8.
    #[error("byte {at}: text is not utf-8")]
    NotUtf8 {
        /// Where the text starts.
        at: usize,
    },
    /// A value is outside the range that the format gives it.
    #[error("byte {at}: {what} is out of range")]
    OutOfRange {
        /// Where the value starts.
        at: usize,
        /// Which value.
        what: &'static str,
    },
    /// An array or map has more than [`MAX_ITEMS`] items.
    #[error("byte {at}: {found} items, limit is {MAX_ITEMS}")]
    TooMany {
        /// Where its first item would start.
        at: usize,
        /// How many it is said to have.
        found: u64,
    },
    /// A floating-point number, `null`, `undefined` or another simple value: the format has none.
    #[error("byte {at}: floating-point or simple value, which the format does not have")]
    Simple {
        /// Where the item starts.
        at: usize,
    },
    /// Arrays and maps nest deeper than [`MAX_DEPTH`].
    #[error("byte {at}: nesting is deeper than {MAX_DEPTH}")]
    TooDeep {
        /// Where the limit was passed.
        at: usize,
    },
}

/// A value with exactly one encoding.
pub trait Cbor: Sized {
    /// Appends the encoding.
    fn write(&self, w: &mut Writer);

    /// Reads one value.
    ///
    /// # Errors
    /// The first deviation from the format.
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError>;

    /// Whether a map leaves this value's key out. Only [`Option`] ever does.
    fn is_absent(&self) -> bool {
        false
    }

    /// The value that an absent key stands for, if one does.
    fn absent() -> Option<Self> {
        None
    }

    /// The whole encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w);
        w.into_bytes()
    }

    /// Reads a value that takes up all of `bytes`.
    ///
    /// # Errors
    /// The first deviation from the format, bytes left over among them.
    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        let value = Self::read(&mut r)?;
        r.finish()?;
        Ok(value)
    }
}

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(512)
    }

    /// An empty buffer that takes so many bytes without growing.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// An unsigned integer.
    pub fn uint(&mut self, n: u64) {
        self.head(0, n);
    }

    /// An integer.
    pub fn int(&mut self, n: i64) {
        match u64::try_from(n) {
            Ok(n) => self.head(0, n),
            // -1 - n of a negative n is its bitwise complement.
            Err(_) => self.head(1, (!n).unsigned_abs()),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, b: &[u8]) {
        self.head(2, len_u64(b.len()));
        self.0.extend_from_slice(b);
    }

    /// A text string.
    pub fn text(&mut self, s: &str) {
        self.head(3, len_u64(s.len()));
        self.0.extend_from_slice(s.as_bytes());
    }

    /// The head of an array of `n` items.
    pub fn array(&mut self, n: usize) {
        self.head(4, len_u64(n));
    }

    /// The head of a map of `n` pairs.
    pub fn map(&mut self, n: usize) {
        self.head(5, len_u64(n));
    }

    /// A tag.
    pub fn tag(&mut self, n: u64) {
        self.head(6, n);
    }

    /// `false` or `true`.
    pub fn boolean(&mut self, b: bool) {
        self.0.push(if b { 0xf5 } else { 0xf4 });
    }

    /// Bytes that are already an encoding.
    pub fn raw(&mut self, b: &[u8]) {
        self.0.extend_from_slice(b);
    }

    fn head(&mut self, major: u8, n: u64) {
        let m = major << 5;
        if let Ok(b) = u8::try_from(n) {
            if b < 24 {
                self.0.push(m | b);
            } else {
                self.0.extend_from_slice(&[m | 24, b]);
            }
        } else if let Ok(b) = u16::try_from(n) {
            self.0.push(m | 25);
            self.0.extend_from_slice(&b.to_be_bytes());
        } else if let Ok(b) = u32::try_from(n) {
            self.0.push(m | 26);
            self.0.extend_from_slice(&b.to_be_bytes());
        } else {
            self.0.push(m | 27);
            self.0.extend_from_slice(&n.to_be_bytes());
        }
    }
}

fn len_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Reads values from a slice, strictly.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u8,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    /// How many bytes were read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CborError::Trailing`] if bytes are left.
    pub fn finish(self) -> Result<(), CborError> {
        match self.bytes.len().saturating_sub(self.at) {
            0 => Ok(()),
            count => Err(CborError::Trailing { at: self.at, count }),
        }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// If the next item is anything else.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.expect_head(0, "an unsigned integer")
    }

    /// An integer.
    ///
    /// # Errors
    /// If the next item is anything else, or does not fit an `i64`.
    pub fn int(&mut self) -> Result<i64, CborError> {
        let at = self.at;
        let out_of_range = CborError::OutOfRange {
            at,
            what: "integer",
        };
        match self.head()? {
            (0, n) => i64::try_from(n).map_err(|_| out_of_range),
            (1, n) => i64::try_from(n).map(|n| !n).map_err(|_| out_of_range),
            _ => Err(CborError::Unexpected {
                at,
                expected: "an integer",
            }),
        }
    }

    /// A byte string.
    ///
    /// # Errors
    /// If the next item is anything else.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let n = self.expect_head(2, "a byte string")?;
        self.take(n)
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// If the next item is anything else.
    pub fn bytes_exact<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let at = self.at;
        let b = self.bytes()?;
        b.try_into().map_err(|_| CborError::OutOfRange {
            at,
            what: "length of a byte string",
        })
    }

    /// A text string.
    ///
    /// # Errors
    /// If the next item is anything else, or not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let at = self.at;
        let n = self.expect_head(3, "a text string")?;
        std::str::from_utf8(self.take(n)?).map_err(|_| CborError::NotUtf8 { at })
    }

    /// `false` or `true`.
    ///
    /// # Errors
    /// If the next item is anything else.
    pub fn boolean(&mut self) -> Result<bool, CborError> {
        let at = self.at;
        match self.peek()? {
            0xf4 | 0xf5 => Ok(self.take(1)? == [0xf5]),
            0xe0..=0xff => Err(CborError::Simple { at }),
            _ => Err(CborError::Unexpected {
                at,
                expected: "false or true",
            }),
        }
    }

    /// The tag `n`.
    ///
    /// # Errors
    /// If the next item is anything else.
    pub fn tag(&mut self, n: u64) -> Result<(), CborError> {
        let at = self.at;
        match self.head()? {
            (6, found) if found == n => Ok(()),
            _ => Err(CborError::Unexpected {
                at,
                expected: "the tag of this structure",
            }),
        }
    }

    /// Enters an array; `f` reads its items, and is told how many there are.
    ///
    /// # Errors
    /// Those of `f`, or if the next item is no array, or nests too deep.
    pub fn array<T>(
        &mut self,
        f: impl FnOnce(&mut Self, u64) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        let n = self.expect_head(4, "an array")?;
        self.nested(n, f)
    }

    /// Enters an array of exactly `n` items.
    ///
    /// # Errors
    /// Those of `f`, or if the next item is no such array.
    pub fn tuple<T>(
        &mut self,
        n: u64,
        f: impl FnOnce(&mut Self) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        let at = self.at;
        self.array(|r, found| {
            if found == n {
                f(r)
            } else {
                Err(CborError::OutOfRange {
                    at,
                    what: "length of an array",
                })
            }
        })
    }

    /// Enters a map with integer keys.
    ///
    /// # Errors
    /// Those of `f`, or if the next item is no map, or keys are left over.
    pub fn map<T>(
        &mut self,
        f: impl FnOnce(&mut MapReader<'_, 'a>) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        let at = self.at;
        let n = self.expect_head(5, "a map")?;
        self.nested(n, |r, left| {
            let mut m = MapReader {
                r,
                at,
                left,
                last: None,
                pending: None,
            };
            let value = f(&mut m)?;
            m.finish()?;
            Ok(value)
        })
    }

    /// Enters a map whose pairs are all alike; `f` reads one, and the caller compares the keys.
    ///
    /// # Errors
    /// Those of `f`, or if the next item is no map, or nests too deep.
    pub fn pairs<T>(
        &mut self,
        f: impl Fn(&mut Self) -> Result<T, CborError>,
    ) -> Result<Vec<T>, CborError> {
        let n = self.expect_head(5, "a map")?;
        self.nested(n, |r, n| (0..n).map(|_| f(r)).collect())
    }

    /// The head of a map of exactly `n` pairs, whose keys and values the caller reads in a fixed order.
    ///
    /// # Errors
    /// If the next item is anything else.
    pub fn map_head(&mut self, n: u64) -> Result<(), CborError> {
        let at = self.at;
        match self.expect_head(5, "a map")? {
            found if found == n => Ok(()),
            _ => Err(CborError::OutOfRange {
                at,
                what: "length of a map",
            }),
        }
    }

    /// The head of an array: how many items follow.
    ///
    /// # Errors
    /// If the next item is anything else.
    pub fn array_head(&mut self) -> Result<u64, CborError> {
        self.expect_head(4, "an array")
    }

    /// The head of a byte string: how many bytes follow.
    ///
    /// # Errors
    /// If the next item is anything else.
    pub fn bytes_head(&mut self) -> Result<u64, CborError> {
        self.expect_head(2, "a byte string")
    }

    /// The next item, whatever it is, as the bytes of its encoding; strictness holds inside it.
    ///
    /// # Errors
    /// If those bytes are not deterministic CBOR.
    pub fn any(&mut self) -> Result<&'a [u8], CborError> {
        let start = self.at;
        self.skip()?;
        self.bytes
            .get(start..self.at)
            .ok_or(CborError::Truncated { at: start })
    }

    fn skip(&mut self) -> Result<(), CborError> {
        let at = self.at;
        match self.peek()? >> 5 {
            0 | 1 => self.head().map(|_| ()),
            2 => self.bytes().map(|_| ()),
            3 => self.text().map(|_| ()),
            4 => self.array(|r, n| (0..n).try_for_each(|_| r.skip())),
            5 => {
                let n = self.expect_head(5, "a map")?;
                self.nested(n, |r, n| {
                    let mut last: &[u8] = &[];
                    for i in 0..n {
                        let key_at = r.at;
                        let key = r.any()?;
                        if i > 0 && key <= last {
                            return Err(CborError::KeyOrder { at: key_at, key: 0 });
                        }
                        last = key;
                        r.skip()?;
                    }
                    Ok(())
                })
            }
            6 => Err(CborError::Unexpected {
                at,
                expected: "an untagged item",
            }),
            _ => self.boolean().map(|_| ()),
        }
    }

    fn nested<T>(
        &mut self,
        n: u64,
        f: impl FnOnce(&mut Self, u64) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        let left = len_u64(self.bytes.len().saturating_sub(self.at));
        // Each item takes at least one byte, so a longer claim is a lie that would cost memory.
        if n > left {
            return Err(CborError::Truncated {
                at: self.bytes.len(),
            });
        }
        if n > MAX_ITEMS {
            return Err(CborError::TooMany {
                at: self.at,
                found: n,
            });
        }
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(CborError::TooDeep { at: self.at });
        }
        let value = f(self, n)?;
        self.depth = self.depth.saturating_sub(1);
        Ok(value)
    }

    fn peek(&self) -> Result<u8, CborError> {
        self.bytes
            .get(self.at)
            .copied()
            .ok_or(CborError::Truncated { at: self.at })
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], CborError> {
        let truncated = CborError::Truncated {
            at: self.bytes.len(),
        };
        let n = usize::try_from(n).map_err(|_| truncated.clone())?;
        let end = self.at.checked_add(n).ok_or_else(|| truncated.clone())?;
        let taken = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn expect_head(&mut self, major: u8, expected: &'static str) -> Result<u64, CborError> {
        let at = self.at;
        match self.head()? {
            (m, n) if m == major => Ok(n),
            _ => Err(CborError::Unexpected { at, expected }),
        }
    }

    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let at = self.at;
        let first = self.peek()?;
        self.take(1)?;
        let (major, info) = (first >> 5, first & 0x1f);
        if major == 7 {
            // `false` and `true` are read by `boolean`; where a head is due they are of the wrong type.
            return match info {
                20 | 21 => Ok((major, u64::from(info))),
                _ => Err(CborError::Simple { at }),
            };
        }
        // SPEC: RFC 8949 4.2.1, the shortest form; 28..31 are reserved or indefinite.
        let (n, smallest) = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => (u64::from(u8::from_be_bytes(self.fixed()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.fixed()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.fixed()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.fixed()?), 1 << 32),
            _ => return Err(CborError::NotShortest { at }),
        };
        if n < smallest {
            return Err(CborError::NotShortest { at });
        }
        Ok((major, n))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let at = self.at;
        self.take(len_u64(N))?
            .try_into()
            .map_err(|_| CborError::Truncated { at })
    }
}

/// Reads a map whose keys are known and ascending.
#[derive(Debug)]
pub struct MapReader<'r, 'a> {
    r: &'r mut Reader<'a>,
    at: usize,
    left: u64,
    last: Option<i64>,
    pending: Option<(usize, i64)>,
}

impl MapReader<'_, '_> {
    /// The value of `key`, which must be the map's next key unless `T` may be absent.
    ///
    /// # Errors
    /// If the key is missing or out of order, or its value is not a `T`.
    pub fn get<T: Cbor>(&mut self, key: i64) -> Result<T, CborError> {
        match self.next_key()? {
            Some((_, found)) if found == key => {
                self.pending = None;
                T::read(self.r)
            }
            _ => T::absent().ok_or(CborError::MissingKey { at: self.at, key }),
        }
    }

    /// Like [`Self::get`] for a required key, read by `f`.
    ///
    /// # Errors
    /// If the key is missing or out of order, or those of `f`.
    pub fn get_with<T>(
        &mut self,
        key: i64,
        f: impl FnOnce(&mut Reader<'_>) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        match self.next_key()? {
            Some((_, found)) if found == key => {
                self.pending = None;
                f(self.r)
            }
            _ => Err(CborError::MissingKey { at: self.at, key }),
        }
    }

    /// Passes over the keys that are left, strictly all the same.
    ///
    /// # Errors
    /// If they are out of order, or a value is not deterministic CBOR.
    pub fn skip_rest(&mut self) -> Result<(), CborError> {
        while self.next_key()?.is_some() {
            self.pending = None;
            self.r.any()?;
        }
        Ok(())
    }

    fn next_key(&mut self) -> Result<Option<(usize, i64)>, CborError> {
        if self.pending.is_none() && self.left > 0 {
            let at = self.r.at;
            let key = self.r.int()?;
            if self
                .last
                .is_some_and(|last| key_rank(key) <= key_rank(last))
            {
                return Err(CborError::KeyOrder { at, key });
            }
            self.left = self.left.saturating_sub(1);
            self.last = Some(key);
            self.pending = Some((at, key));
        }
        Ok(self.pending)
    }

    fn finish(&mut self) -> Result<(), CborError> {
        match self.next_key()? {
            Some((at, key)) => Err(CborError::UnknownKey { at, key }),
            None => Ok(()),
        }
    }
}

/// Where a key stands in the bytewise order of encodings: 0, 1, 2, … then −1, −2, ….
fn key_rank(key: i64) -> (bool, u64) {
    (key < 0, key.unsigned_abs())
}

impl<T: Cbor> Cbor for Option<T> {
    fn write(&self, w: &mut Writer) {
        if let Some(value) = self {
            value.write(w);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        T::read(r).map(Some)
    }
    fn is_absent(&self) -> bool {
        self.is_none()
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Cbor> Cbor for Vec<T> {
    fn write(&self, w: &mut Writer) {
        w.array(self.len());
        self.iter().for_each(|item| item.write(w));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.array(|r, n| (0..n).map(|_| T::read(r)).collect())
    }
}

impl Cbor for u64 {
    fn write(&self, w: &mut Writer) {
        w.uint(*self);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.uint()
    }
}

impl Cbor for i64 {
    fn write(&self, w: &mut Writer) {
        w.int(*self);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.int()
    }
}

impl Cbor for u8 {
    fn write(&self, w: &mut Writer) {
        w.uint(u64::from(*self));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        let at = r.at;
        u8::try_from(r.uint()?).map_err(|_| CborError::OutOfRange {
            at,
            what: "small integer",
        })
    }
}

impl Cbor for bool {
    fn write(&self, w: &mut Writer) {
        w.boolean(*self);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.boolean()
    }
}

impl Cbor for String {
    fn write(&self, w: &mut Writer) {
        w.text(self);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.text().map(str::to_owned)
    }
}

impl<const N: usize> Cbor for [u8; N] {
    fn write(&self, w: &mut Writer) {
        w.bytes(self);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.bytes_exact()
    }
}

/// A byte string of any length.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "h'{}'", hex::encode(&self.0))
    }
}

impl Cbor for Bytes {
    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.bytes().map(|b| Self(b.to_vec()))
    }
}

/// Declares a struct that is a map with integer keys, in ascending order of their encodings.
///
/// A field of type [`Option`] is a key that may be absent; every other key is required.
#[macro_export]
macro_rules! cbor_map {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$fmeta:meta])* $key:literal => $field:ident : $type:ty),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type),* }

        impl $crate::cbor::Cbor for $name {
            fn write(&self, w: &mut $crate::cbor::Writer) {
                let Self { $($field),* } = self;
                let present = [$(!$crate::cbor::Cbor::is_absent($field)),*];
                w.map(present.iter().filter(|p| **p).count());
                $(if !$crate::cbor::Cbor::is_absent($field) {
                    w.int($key);
                    $crate::cbor::Cbor::write($field, w);
                })*
            }
            fn read(r: &mut $crate::cbor::Reader<'_>) -> Result<Self, $crate::cbor::CborError> {
                r.map(|m| Ok(Self { $($field: m.get($key)?),* }))
            }
        }

        impl $name {
            /// Key and name of each field, in order; what the CDDL is compared with.
            pub const FIELDS: &'static [(i64, &'static str)] = &[$(($key, stringify!($field))),*];
            /// Type of each field, in order; an [`Option`] is a key that may be absent.
            pub const TYPES: &'static [&'static str] = &[$(stringify!($type)),*];
        }
    };
}

/// Declares an enum whose variants are small integers.
#[macro_export]
macro_rules! cbor_enum {
    ($(#[$meta:meta])* pub enum $name:ident ($what:literal) {
        $($(#[$vmeta:meta])* $variant:ident = $value:literal : $text:literal),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The number in the encoding.
            #[must_use]
            pub fn code(self) -> u64 { match self { $(Self::$variant => $value),* } }
            /// The value of a number.
            #[must_use]
            pub fn from_code(code: u64) -> Option<Self> {
                match code { $($value => Some(Self::$variant),)* _ => None }
            }
            /// The word in the specification.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $text),* } }
            /// The value of a word.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.name()) }
        }

        impl $crate::cbor::Cbor for $name {
            fn write(&self, w: &mut $crate::cbor::Writer) { w.uint(self.code()); }
            fn read(r: &mut $crate::cbor::Reader<'_>) -> Result<Self, $crate::cbor::CborError> {
                let at = r.position();
                Self::from_code(r.uint()?).ok_or($crate::cbor::CborError::OutOfRange { at, what: $what })
            }
        }
    };
}
