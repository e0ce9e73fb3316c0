//! The part of protobuf that launch endorsements are written in, read strictly.
//!
//! In: bytes. Out: fields in order. Accepted are wire types 0 (varint, as short as it can be) and 2
//! (length and bytes); a length is only ever used to cut the input. What protobuf itself would pass over,
//! unknown fields and repeated scalars, is for the caller to refuse, so nothing that was signed is
//! unread.
//!
//! Source: Protocol Buffers, "Encoding".

use thiserror::Error;

/// Why bytes are not the message that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtobufError {
    /// The bytes end inside a field.
    #[error("message ends inside a field, {left} bytes before its end")]
    Truncated {
        /// Bytes that are left.
        left: usize,
    },
    /// A number of more than 64 bits, or longer than it has to be.
    #[error("message has a number that is not in its shortest form")]
    Number,
    /// A wire type that is not used here.
    #[error("field {field} has wire type {wire}")]
    Wire {
        /// Which field.
        field: u64,
        /// The type.
        wire: u64,
    },
    /// A field that this message does not have, or has as another type.
    #[error("message has field {field} of a type or number that is not known")]
    Unknown {
        /// Which field.
        field: u64,
    },
    /// A field that stands twice.
    #[error("message has field {field} twice")]
    Twice {
        /// Which field.
        field: u64,
    },
    /// A field that has to be there.
    #[error("message lacks field {field}")]
    Absent {
        /// Which field.
        field: u64,
    },
    /// A value of another length or range than its field has.
    #[error("field {field} has a value that it cannot have")]
    Value {
        /// Which field.
        field: u64,
    },
    /// More fields than any message here has.
    #[error("message has more than {limit} fields")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// All fields of a message.
pub(super) fn fields(mut bytes: &[u8]) -> Result<Vec<Field<'_>>, ProtobufError> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        if fields.len() >= MAX_FIELDS {
            return Err(ProtobufError::TooMany { limit: MAX_FIELDS });
        }
        let tag = number(&mut bytes)?;
        let (field, wire) = (tag >> 3, tag & 7);
        let value = match wire {
            0 => Value::Number(number(&mut bytes)?),
            2 => {
                let length = number(&mut bytes)?;
                let left = bytes.len();
                let length =
                    usize::try_from(length).map_err(|_| ProtobufError::Truncated { left })?;
                let (taken, rest) = bytes
                    .split_at_checked(length)
                    .ok_or(ProtobufError::Truncated { left })?;
                bytes = rest;
                Value::Bytes(taken)
            }
            wire => return Err(ProtobufError::Wire { field, wire }),
        };
        fields.push(Field {
            number: field,
            value,
        });
    }
    Ok(fields)
}

fn number(bytes: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0_u64;
    for place in 0..10_u32 {
        let (byte, rest) = bytes
            .split_first()
            .ok_or(ProtobufError::Truncated { left: 0 })?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit; a last byte of zero makes a number longer than it is.
        if (place == 9 && bits > 1) || (place > 0 && *byte == 0) {
            return Err(ProtobufError::Number);
        }
        value |= bits.wrapping_shl(place.wrapping_mul(7));
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Number)
}

/// Sets a field that may stand once.
pub(super) fn once<T>(place: &mut Option<T>, field: u64, value: T) -> Result<(), ProtobufError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ProtobufError::Twice { field }),
    }
}

/// Most fields of a message. Google lists a measurement for each size of machine, about a hundred.
const MAX_FIELDS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_are_read_in_order() {
        let read = fields(&[0x08, 0x96, 0x01, 0x12, 0x02, 0xaa, 0xbb]).unwrap();
        assert_eq!(
            read,
            [
                Field {
                    number: 1,
                    value: Value::Number(150)
                },
                Field {
                    number: 2,
                    value: Value::Bytes(&[0xaa, 0xbb])
                },
            ]
        );
    }

    #[test]
    fn a_number_has_one_form_and_64_bits() {
        let most = [&[0x08], [0xff; 9].as_slice(), &[0x01]].concat();
        assert_eq!(fields(&most).unwrap()[0].value, Value::Number(u64::MAX));
        let more = [&[0x08], [0xff; 9].as_slice(), &[0x02]].concat();
        assert_eq!(fields(&more), Err(ProtobufError::Number));
        let longer = [&[0x08], [0xff; 10].as_slice(), &[0x01]].concat();
        assert_eq!(fields(&longer), Err(ProtobufError::Number));
        assert_eq!(fields(&[0x08, 0x81, 0x00]), Err(ProtobufError::Number));
        assert!(fields(&[0x08, 0x00]).is_ok());
    }

    #[test]
    fn cut_messages_and_other_wire_types_are_refused() {
        for bytes in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x12],
            &[0x12, 0x02, 0xaa],
            &[0x88],
        ] {
            assert!(matches!(
                fields(bytes),
                Err(ProtobufError::Truncated { .. })
            ));
        }
        for wire in [1, 3, 4, 5, 6, 7] {
            let field = 1;
            assert_eq!(
                fields(&[0x08 | wire, 0, 0, 0, 0, 0, 0, 0, 0]),
                Err(ProtobufError::Wire {
                    field,
                    wire: wire.into()
                })
            );
        }
        assert!(fields(&[0x08, 0x00].repeat(1024)).is_ok());
        assert_eq!(
            fields(&[0x08, 0x00].repeat(1025)),
            Err(ProtobufError::TooMany { limit: 1024 })
        );
    }
}
