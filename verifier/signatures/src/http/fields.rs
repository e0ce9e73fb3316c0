//! The few structured fields (RFC 8941) that a signed request has, read strictly.
//!
//! Only the serialised form is read (RFC 8941 §4.1): single spaces, no optional whitespace, no
//! repeated parameters. So the text of the parameters is what was signed, and goes into the
//! signature base as it arrived.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Most components that a signature may cover.
pub(super) const MAX_COMPONENTS: usize = 32;

/// Longest string of a parameter or component name, in characters.
pub(super) const MAX_STRING_CHARS: usize = 256;

/// Longest label of a signature, in characters.
const MAX_LABEL_CHARS: usize = 64;

/// Why a structured field is refused. Offsets count bytes from the start of the field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FieldError {
    /// Something else was expected here, or the field ends here.
    #[error("byte {at}: expected {expected}")]
    Unexpected {
        /// Where.
        at: usize,
        /// What may stand there.
        expected: &'static str,
    },
    /// A string, number, label or list is longer than accepted.
    #[error("byte {at}: longer than {limit}")]
    TooLong {
        /// Where.
        at: usize,
        /// The limit, in characters, digits or components.
        limit: usize,
    },
    /// A parameter that this profile does not have.
    #[error("byte {at}: parameter is not known")]
    UnknownParameter {
        /// Where its name starts.
        at: usize,
    },
    /// A parameter or component that was there before.
    #[error("byte {at}: repeated")]
    Repeated {
        /// Where the second one starts.
        at: usize,
    },
}

/// The value of `@signature-params`: what is covered, and how it was signed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) components: Vec<String>,
    pub(super) created: Option<u64>,
    pub(super) expires: Option<u64>,
    pub(super) key_id: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) tag: Option<String>,
}

/// `label=(…);…`, exactly one.
pub(super) struct SignatureInput<'a> {
    pub(super) label: &'a str,
    /// The parameters as they arrived.
    pub(super) text: &'a str,
    pub(super) parameters: Parameters,
}

/// `key=:base64:`, exactly one.
pub(super) struct NamedBytes<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: Vec<u8>,
}

impl<'a> SignatureInput<'a> {
    pub(super) fn parse(value: &'a str) -> Result<Self, FieldError> {
        let mut cursor = Cursor::new(value);
        let label = cursor.key()?;
        cursor.expect(b'=', "'='")?;
        let start = cursor.at;
        let parameters = cursor.parameters()?;
        cursor.end()?;
        let text = value.get(start..).unwrap_or_default();
        Ok(Self {
            label,
            text,
            parameters,
        })
    }
}

impl Parameters {
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        let mut cursor = Cursor::new(text);
        let parameters = cursor.parameters()?;
        cursor.end()?;
        Ok(parameters)
    }
}

impl<'a> NamedBytes<'a> {
    pub(super) fn parse(value: &'a str) -> Result<Self, FieldError> {
        let mut cursor = Cursor::new(value);
        let name = cursor.key()?;
        cursor.expect(b'=', "'='")?;
        let bytes = cursor.byte_sequence()?;
        cursor.end()?;
        Ok(Self { name, bytes })
    }
}

/// `:base64:`
pub(super) fn write_bytes(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}

/// Whether `text` can stand in a quoted string without an escape.
pub(super) fn is_plain_string(text: &str) -> bool {
    text.len() <= MAX_STRING_CHARS
        && text
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self, expected: &'static str) -> FieldError {
        FieldError::Unexpected {
            at: self.at,
            expected,
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), FieldError> {
        if self.accept(byte) {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at = self.at.saturating_add(1);
        }
        found
    }

    fn end(&self) -> Result<(), FieldError> {
        if self.peek().is_none() {
            Ok(())
        } else {
            Err(self.unexpected("the end"))
        }
    }

    /// The longest run of bytes that `belongs` accepts, of at most `limit`.
    fn run(&mut self, limit: usize, belongs: impl Fn(u8) -> bool) -> Result<&'a str, FieldError> {
        let start = self.at;
        while self.peek().is_some_and(&belongs) {
            self.at = self.at.saturating_add(1);
            if self.at.saturating_sub(start) > limit {
                return Err(FieldError::TooLong { at: start, limit });
            }
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    // SPEC: RFC 8941 §3.1.2, `key`
    fn key(&mut self) -> Result<&'a str, FieldError> {
        if !self
            .peek()
            .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*')
        {
            return Err(self.unexpected("a lower-case name"));
        }
        self.run(MAX_LABEL_CHARS, |byte| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'_' | b'-' | b'.' | b'*')
        })
    }

    // SPEC: RFC 8941 §3.3.1; only what a time needs: no sign, no leading zero.
    fn integer(&mut self) -> Result<u64, FieldError> {
        let start = self.at;
        let digits = self.run(15, |byte| byte.is_ascii_digit())?;
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(FieldError::Unexpected {
                at: start,
                expected: "a number without leading zeros",
            });
        }
        digits.parse().map_err(|_| FieldError::Unexpected {
            at: start,
            expected: "a number",
        })
    }

    // SPEC: RFC 8941 §3.3.3
    fn string(&mut self) -> Result<String, FieldError> {
        let start = self.at;
        self.expect(b'"', "'\"'")?;
        let mut text = String::new();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at = self.at.saturating_add(1);
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at = self.at.saturating_add(1);
                    match self.peek() {
                        Some(byte @ (b'"' | b'\\')) => text.push(char::from(byte)),
                        _ => return Err(self.unexpected("'\"' or '\\'")),
                    }
                }
                Some(byte @ b' '..=b'~') => text.push(char::from(byte)),
                _ => return Err(self.unexpected("a printable character or '\"'")),
            }
            self.at = self.at.saturating_add(1);
            if text.len() > MAX_STRING_CHARS {
                return Err(FieldError::TooLong {
                    at: start,
                    limit: MAX_STRING_CHARS,
                });
            }
        }
    }

    // SPEC: RFC 8941 §3.3.5; padding is required and unused bits are zero.
    fn byte_sequence(&mut self) -> Result<Vec<u8>, FieldError> {
        self.expect(b':', "':'")?;
        let start = self.at;
        let encoded = self.run(256, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
        })?;
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| FieldError::Unexpected {
                at: start,
                expected: "base64",
            })?;
        self.expect(b':', "':'")?;
        Ok(bytes)
    }

    // SPEC: RFC 9421 §2.3: an inner list of component names, then parameters.
    fn parameters(&mut self) -> Result<Parameters, FieldError> {
        let mut parameters = Parameters::default();
        self.expect(b'(', "'('")?;
        if !self.accept(b')') {
            loop {
                self.component(&mut parameters.components)?;
                if self.accept(b')') {
                    break;
                }
                self.expect(b' ', "' ' or ')'")?;
            }
        }
        while self.accept(b';') {
            self.parameter(&mut parameters)?;
        }
        Ok(parameters)
    }

    fn component(&mut self, components: &mut Vec<String>) -> Result<(), FieldError> {
        let at = self.at;
        let name = self.string()?;
        if components.contains(&name) {
            return Err(FieldError::Repeated { at });
        }
        if components.len() >= MAX_COMPONENTS {
            return Err(FieldError::TooLong {
                at,
                limit: MAX_COMPONENTS,
            });
        }
        components.push(name);
        Ok(())
    }

    fn parameter(&mut self, parameters: &mut Parameters) -> Result<(), FieldError> {
        let at = self.at;
        let name = self.key()?;
        self.expect(b'=', "'='")?;
        let repeated = match name {
            "created" => parameters.created.replace(self.integer()?).is_some(),
            "expires" => parameters.expires.replace(self.integer()?).is_some(),
            "keyid" => parameters.key_id.replace(self.string()?).is_some(),
            "nonce" => parameters.nonce.replace(self.string()?).is_some(),
            "alg" => parameters.algorithm.replace(self.string()?).is_some(),
            "tag" => parameters.tag.replace(self.string()?).is_some(),
            _ => return Err(FieldError::UnknownParameter { at }),
        };
        if repeated {
            Err(FieldError::Repeated { at })
        } else {
            Ok(())
        }
    }
}
