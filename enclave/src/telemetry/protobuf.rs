//! Protocol Buffers, as far as OTLP needs them: writing, and no more.
//!
//! In: fields with their numbers, in order. Out: the bytes of one message. Fields that hold their default are left
//! out, as proto3 does; `opt_…` writes them all the same. What we would take in its place is a generated encoder and
//! its tree of packages for the few messages that [`super::otlp`] sends.
//!
//! SPEC: Protocol Buffers, "Encoding".

/// How a field's value is laid out.
#[derive(Clone, Copy)]
enum Wire {
    Varint,
    Eight,
    Length,
    Four,
}

impl Wire {
    fn code(self) -> u64 {
        match self {
            Self::Varint => 0,
            Self::Eight => 1,
            Self::Length => 2,
            Self::Four => 5,
        }
    }
}

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Its bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A message within this one, also if it is empty.
    pub(super) fn message(&mut self, field: u32, inner: Self) {
        self.length(field, &inner.0);
    }

    /// A message for each of these.
    pub(super) fn each<T>(
        &mut self,
        field: u32,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(T) -> Self,
    ) {
        for item in items {
            self.message(field, write(item));
        }
    }

    /// Text.
    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// Bytes.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.length(field, bytes);
        }
    }

    /// Text, also if it is empty.
    pub(super) fn opt_text(&mut self, field: u32, text: &str) {
        self.length(field, text.as_bytes());
    }

    /// An unsigned number, or an enumeration's.
    pub(super) fn number(&mut self, field: u32, number: u64) {
        if number != 0 {
            self.opt_number(field, number);
        }
    }

    /// An unsigned number, also if it is 0.
    pub(super) fn opt_number(&mut self, field: u32, number: u64) {
        self.key(field, Wire::Varint);
        self.varint(number);
    }

    /// Eight bytes, also if they are 0.
    pub(super) fn opt_fixed64(&mut self, field: u32, number: u64) {
        self.key(field, Wire::Eight);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Four bytes.
    pub(super) fn fixed32(&mut self, field: u32, number: u32) {
        if number != 0 {
            self.key(field, Wire::Four);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// A double, also if it is 0.
    pub(super) fn opt_double(&mut self, field: u32, number: f64) {
        self.key(field, Wire::Eight);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Several values of eight bytes in one field.
    pub(super) fn packed(&mut self, field: u32, values: impl IntoIterator<Item = [u8; 8]>) {
        let bytes: Vec<u8> = values.into_iter().flatten().collect();
        self.bytes(field, &bytes);
    }

    fn length(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, Wire::Length);
        self.varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
    }

    fn key(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire.code());
    }

    /// Seven bits a byte, lowest first; all but the last have the highest bit set.
    fn varint(&mut self, mut number: u64) {
        loop {
            let [low, ..] = (number & 0x7f).to_le_bytes();
            number >>= 7;
            if number == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of "Encoding": 150 in field 1, and "testing" in field 2.
    #[test]
    fn numbers_and_texts_are_written_as_the_specification_shows() {
        let mut message = Message::default();
        message.number(1, 150);
        message.text(2, "testing");
        assert_eq!(
            message.into_bytes(),
            [
                0x08, 0x96, 0x01, 0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g'
            ]
        );
    }

    #[test]
    fn a_message_within_is_its_length_and_its_bytes() {
        let mut inner = Message::default();
        inner.number(1, 150);
        let mut outer = Message::default();
        outer.message(3, inner);
        assert_eq!(outer.into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
    }

    #[test]
    fn the_largest_number_takes_ten_bytes() {
        let mut message = Message::default();
        message.number(1, u64::MAX);
        let mut expected = vec![0x08];
        expected.extend([0xff; 9]);
        expected.push(0x01);
        assert_eq!(message.into_bytes(), expected);
    }

    #[test]
    fn defaults_are_left_out_unless_they_are_asked_for() {
        let mut message = Message::default();
        message.number(1, 0);
        message.text(2, "");
        message.fixed32(3, 0);
        assert!(message.0.is_empty());
        message.opt_number(1, 0);
        message.opt_text(2, "");
        message.opt_fixed64(4, 0);
        assert_eq!(message.0, [0x08, 0, 0x12, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
