//! Every deviation from deterministic encoding, at every place where it can be made, refused by name.

use super::schema::{Choices, MAPS, Map, inner, made_up, made_up_payload, plain};
use crate::cbor::{Bytes, Cbor, CborError, MAX_DEPTH, MAX_ITEMS, Reader, Writer};
use crate::cose::{ALG_ED25519, Sign1, Unsigned};
use crate::digest::{KeyId, Signature};
use crate::entry::{Entry, EntryError, Extensions, Kind, MAX_ENTRY_BYTES};

/// A value as it is nested.
#[derive(Clone)]
enum Node {
    /// An integer, by its major type.
    Integer(u8, u64),
    /// A byte or text string, by its major type.
    Text(u8, Vec<u8>),
    Boolean(u8),
    Array(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    LongHead,
    Indefinite,
    Float,
    Null,
    Tagged,
    RepeatedKey,
    SwappedKeys,
    UnknownKey,
    TextKey,
}

const DEFECTS: [Defect; 9] = [
    Defect::LongHead,
    Defect::Indefinite,
    Defect::Float,
    Defect::Null,
    Defect::Tagged,
    Defect::RepeatedKey,
    Defect::SwappedKeys,
    Defect::UnknownKey,
    Defect::TextKey,
];

impl Defect {
    fn fits(self, node: &Node) -> bool {
        match (self, node) {
            (Self::Float | Self::Null | Self::Tagged, _) => true,
            (Self::LongHead, node) => !matches!(node, Node::Boolean(_)),
            (Self::Indefinite, node) => !matches!(node, Node::Boolean(_) | Node::Integer(..)),
            (Self::SwappedKeys, Node::Map(pairs)) => pairs.len() > 1,
            (Self::RepeatedKey | Self::UnknownKey | Self::TextKey, Node::Map(_)) => true,
            _ => false,
        }
    }

    fn is_named_by(self, error: &CborError) -> bool {
        match self {
            Self::LongHead | Self::Indefinite => matches!(error, CborError::NotShortest { .. }),
            Self::Float | Self::Null => matches!(error, CborError::Simple { .. }),
            Self::Tagged | Self::TextKey => matches!(error, CborError::Unexpected { .. }),
            Self::RepeatedKey => matches!(error, CborError::KeyOrder { .. }),
            // A required key that comes too late is missing where it is due.
            Self::SwappedKeys => matches!(
                error,
                CborError::KeyOrder { .. } | CborError::MissingKey { .. }
            ),
            Self::UnknownKey => matches!(error, CborError::UnknownKey { key: 9999, .. }),
        }
    }
}

fn parse(bytes: &mut &[u8]) -> Node {
    let first = bytes[0];
    let width = [0, 1, 2, 4, 8][usize::from((first & 0x1f).max(23) - 23)];
    let n = match first & 0x1f {
        small @ 0..=23 => u64::from(small),
        _ => bytes[1..=width]
            .iter()
            .fold(0, |n, b| n << 8 | u64::from(*b)),
    };
    *bytes = &bytes[1 + width..];
    match first >> 5 {
        major @ (0 | 1) => Node::Integer(major, n),
        major @ (2 | 3) => {
            let (text, rest) = bytes.split_at(n as usize);
            *bytes = rest;
            Node::Text(major, text.to_vec())
        }
        4 => Node::Array((0..n).map(|_| parse(bytes)).collect()),
        5 => Node::Map((0..n).map(|_| (parse(bytes), parse(bytes))).collect()),
        _ => Node::Boolean(first),
    }
}

/// Writes a tree with one defect at one node, counted in the order of writing.
struct Emitter {
    out: Vec<u8>,
    at: usize,
    place: usize,
    defect: Defect,
    done: bool,
}

impl Emitter {
    fn head(&mut self, major: u8, n: u64, defect: bool) {
        if defect && self.defect == Defect::Indefinite {
            return self.out.push(major << 5 | 31);
        }
        let mut w = Writer::new();
        w.uint(n);
        let mut head = w.into_bytes();
        if defect && self.defect == Defect::LongHead {
            let wide = match head.len() {
                1 => vec![24, n as u8],
                2 => [vec![25], (n as u16).to_be_bytes().to_vec()].concat(),
                3 => [vec![26], (n as u32).to_be_bytes().to_vec()].concat(),
                _ => [vec![27], n.to_be_bytes().to_vec()].concat(),
            };
            head = wide;
        }
        head[0] |= major << 5;
        self.out.extend(head);
    }

    fn node(&mut self, node: &Node) {
        let here = self.at == self.place && self.defect.fits(node);
        self.at += 1;
        self.done |= here;
        if here {
            match self.defect {
                Defect::Float => return self.out.extend([0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
                Defect::Null => return self.out.push(0xf6),
                Defect::Tagged => self.out.push(0xc1),
                _ => {}
            }
        }
        match node {
            Node::Integer(major, n) => self.head(*major, *n, here),
            Node::Boolean(b) => self.out.push(*b),
            Node::Text(major, text) => {
                self.head(*major, text.len() as u64, here);
                self.out.extend(text);
            }
            Node::Array(items) => {
                self.head(4, items.len() as u64, here);
                items.iter().for_each(|i| self.node(i));
            }
            Node::Map(pairs) => {
                let mut pairs = pairs.clone();
                if here {
                    match self.defect {
                        Defect::RepeatedKey => pairs.insert(0, pairs[0].clone()),
                        Defect::SwappedKeys => pairs.swap(0, 1),
                        Defect::UnknownKey => {
                            pairs.push((Node::Integer(0, 9999), Node::Integer(0, 0)))
                        }
                        Defect::TextKey => pairs[0].0 = Node::Text(3, b"a".to_vec()),
                        _ => {}
                    }
                }
                self.head(5, pairs.len() as u64, here);
                for (key, value) in &pairs {
                    self.node(key);
                    self.node(value);
                }
            }
        }
    }
}

/// Every way to make `defect` in `bytes`.
fn spoilt(bytes: &[u8], defect: Defect) -> Vec<Vec<u8>> {
    let tree = parse(&mut &*bytes);
    let mut all = Vec::new();
    for place in 0.. {
        let mut e = Emitter {
            out: Vec::new(),
            at: 0,
            place,
            defect,
            done: false,
        };
        e.node(&tree);
        if e.done {
            all.push(e.out);
        } else if e.at <= place {
            break;
        }
    }
    all
}

fn examples() -> impl Iterator<Item = (&'static Map, Vec<u8>)> {
    MAPS.iter()
        .map(|map| (map, made_up(map.name, &mut Choices::Full(0))))
}

#[test]
fn every_defect_at_every_place_of_every_map_is_named() {
    let mut count = 0;
    for (map, bytes) in examples() {
        for defect in DEFECTS {
            for bad in spoilt(&bytes, defect) {
                let error = (map.rewrite)(&bad).unwrap_err();
                assert!(
                    defect.is_named_by(&error),
                    "{} {defect:?}: {error} in {}",
                    map.name,
                    hex::encode(&bad)
                );
                count += 1;
            }
        }
    }
    assert!(count > 3000, "only {count} cases were made");
}

#[test]
fn every_defect_at_every_place_of_every_payload_is_named() {
    for kind in Kind::ALL {
        let payload = made_up_payload(*kind, &mut Choices::Full(0));
        for defect in DEFECTS {
            for bad in spoilt(&payload, defect) {
                let bytes = statement(kind.typ(), bad);
                match Entry::parse(&bytes) {
                    // An unknown key beside known ones is what an extension map is for.
                    Ok(entry) => assert!(
                        defect == Defect::UnknownKey && entry.payload().to_bytes() != payload,
                        "{kind} {defect:?}"
                    ),
                    Err(EntryError::Malformed(error)) => {
                        // Key 9999 comes after the negative keys of a payload, and in an extension map it is
                        // a key like any other, whose value must be bytes.
                        let extension = defect == Defect::UnknownKey
                            && matches!(
                                error,
                                CborError::Unexpected { .. }
                                    | CborError::KeyOrder { key: 9999, .. }
                            );
                        assert!(
                            defect.is_named_by(&error) || extension,
                            "{kind} {defect:?}: {error}"
                        );
                    }
                    Err(other) => panic!("{kind} {defect:?}: {other}"),
                }
            }
        }
    }
}

#[test]
fn every_required_key_is_missed_and_every_optional_key_is_not() {
    for (map, bytes) in examples() {
        let Node::Map(pairs) = parse(&mut bytes.as_slice()) else {
            panic!("{} is no map", map.name)
        };
        for (i, ((key, _), ty)) in map.fields.iter().zip(map.types).enumerate() {
            let mut fewer = pairs.clone();
            fewer.remove(i);
            let mut e = Emitter {
                out: Vec::new(),
                at: 0,
                place: usize::MAX,
                defect: Defect::Null,
                done: false,
            };
            e.node(&Node::Map(fewer));
            let found = (map.rewrite)(&e.out);
            if inner("Option", &plain(ty)).is_some() {
                assert_eq!(found, Ok(e.out), "{} without {key}", map.name);
            } else {
                assert_eq!(
                    found,
                    Err(CborError::MissingKey { at: 0, key: *key }),
                    "{}",
                    map.name
                );
            }
        }
    }
}

#[test]
fn every_shortened_map_is_named_truncated() {
    for (map, bytes) in examples() {
        for end in 0..bytes.len() {
            let error = (map.rewrite)(&bytes[..end]).unwrap_err();
            assert!(
                matches!(error, CborError::Truncated { .. }),
                "{} {end}: {error}",
                map.name
            );
        }
    }
}

#[test]
fn bytes_after_a_map_are_counted() {
    for (map, mut bytes) in examples() {
        let at = bytes.len();
        bytes.extend([0xf4, 0x00]);
        assert_eq!(
            (map.rewrite)(&bytes),
            Err(CborError::Trailing { at, count: 2 }),
            "{}",
            map.name
        );
    }
}

#[test]
fn text_that_is_not_utf8_is_named() {
    assert_eq!(
        String::from_bytes(&[0x62, 0xc3, 0x28]),
        Err(CborError::NotUtf8 { at: 0 })
    );
    // A surrogate, and an overlong form.
    assert_eq!(
        String::from_bytes(&[0x63, 0xed, 0xa0, 0x80]),
        Err(CborError::NotUtf8 { at: 0 })
    );
    assert_eq!(
        String::from_bytes(&[0x62, 0xc0, 0x80]),
        Err(CborError::NotUtf8 { at: 0 })
    );
}

#[test]
fn a_byte_string_of_another_length_than_its_type_is_named() {
    let length = CborError::OutOfRange {
        at: 0,
        what: "length of a byte string",
    };
    let mut short = vec![0x58, 31];
    short.extend([0; 31]);
    assert_eq!(KeyId::from_bytes(&short), Err(length.clone()));
    let mut long = vec![0x58, 33];
    long.extend([0; 33]);
    assert_eq!(KeyId::from_bytes(&long), Err(length));
}

#[test]
fn a_number_outside_its_type_is_named() {
    assert!(matches!(
        u8::from_bytes(&[0x19, 1, 0]),
        Err(CborError::OutOfRange { .. })
    ));
    assert!(matches!(
        i64::from_bytes(&[0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        Err(CborError::OutOfRange { .. })
    ));
    assert!(matches!(
        i64::from_bytes(&[0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        Err(CborError::OutOfRange { .. })
    ));
    assert_eq!(
        i64::from_bytes(&[0x3b, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
        Ok(i64::MIN)
    );
    for e in super::schema::enums() {
        let unused = (0..24u8)
            .find(|n| e.values.iter().all(|(code, _)| *code != u64::from(*n)))
            .unwrap();
        assert!(e.values.len() < 24, "{}", e.name);
        if e.name == "Kind" {
            assert!(matches!(
                Kind::from_bytes(&[unused]),
                Err(CborError::OutOfRange { .. })
            ));
        }
    }
}

#[test]
fn a_huge_length_is_named_and_costs_nothing() {
    for head in [0x5b, 0x7b, 0x9b, 0xbb] {
        for n in [u64::MAX, u64::MAX / 2, 1 << 40] {
            let bytes = [vec![head], n.to_be_bytes().to_vec(), vec![0; 40]].concat();
            let mut r = Reader::new(&bytes);
            assert!(
                matches!(r.any(), Err(CborError::Truncated { .. })),
                "{head:x} {n}"
            );
        }
    }
}

#[test]
fn an_array_of_too_many_items_is_named() {
    let n = usize::try_from(MAX_ITEMS).unwrap();
    let array = |n| vec![String::new(); n].to_bytes();
    assert_eq!(Vec::<String>::from_bytes(&array(n)).unwrap().len(), n);
    assert_eq!(
        Vec::<String>::from_bytes(&array(n + 1)),
        Err(CborError::TooMany {
            at: 5,
            found: MAX_ITEMS + 1
        })
    );
}

#[test]
fn keys_stand_in_the_order_of_their_encodings() {
    let keys = [
        0,
        1,
        2,
        23,
        24,
        256,
        i64::MAX,
        -1,
        -2,
        -24,
        -25,
        -257,
        i64::MIN,
    ];
    for (first, second) in keys.iter().flat_map(|a| keys.map(|b| (*a, b))) {
        let mut w = Writer::new();
        w.map(2);
        for key in [first, second] {
            w.int(key);
            w.uint(0);
        }
        let bytes = w.into_bytes();
        let read = Reader::new(&bytes).map(|m| Ok([m.get::<u64>(first)?, m.get(second)?]));
        if first.to_bytes() < second.to_bytes() {
            assert_eq!(read, Ok([0, 0]), "{first} {second}");
        } else {
            let at = 2 + first.to_bytes().len();
            let error = CborError::KeyOrder { at, key: second };
            assert_eq!(read, Err(error), "{first} {second}");
        }
    }
}

#[test]
fn nesting_beyond_the_limit_is_named() {
    let nested = |depth: u8| {
        // The payload of a later version, whose unknown keys are passed over.
        let mut w = Writer::new();
        w.map(2);
        w.int(1);
        w.uint(2);
        w.int(9);
        (0..depth).for_each(|_| w.array(1));
        w.uint(0);
        statement(Kind::Event.typ(), w.into_bytes())
    };
    let deepest = nested(MAX_DEPTH - 1);
    assert_eq!(
        Entry::parse(&deepest).unwrap_err(),
        EntryError::Version { found: 2 }
    );
    let deeper = nested(MAX_DEPTH);
    let error = Entry::parse(&deeper).unwrap_err();
    assert!(
        matches!(error, EntryError::Malformed(CborError::TooDeep { .. })),
        "{error}"
    );
}

fn statement(typ: &str, payload: Vec<u8>) -> Vec<u8> {
    Unsigned::new(typ, KeyId([1; 32]), payload).with_signature(Signature([2; 64]))
}

/// A statement made part by part, so that each can be wrong.
struct Parts {
    tag: u64,
    length: usize,
    protected: Vec<u8>,
    unprotected: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

fn parts() -> Parts {
    Parts {
        tag: 18,
        length: 4,
        protected: protected(3, ALG_ED25519, 32),
        unprotected: vec![0xa0],
        payload: vec![0x41, 0],
        signature: vec![0; 64],
    }
}

fn protected(n: usize, alg: i64, kid: usize) -> Vec<u8> {
    let mut w = Writer::new();
    w.map(n);
    w.int(1);
    w.int(alg);
    w.int(4);
    w.bytes(&vec![1; kid]);
    w.int(16);
    w.text("t");
    w.into_bytes()
}

impl Parts {
    fn parse(&self) -> Result<(), CborError> {
        let mut w = Writer::new();
        w.tag(self.tag);
        w.array(self.length);
        w.bytes(&self.protected);
        w.raw(&self.unprotected);
        w.raw(&self.payload);
        w.bytes(&self.signature);
        Sign1::parse(&w.into_bytes()).map(|_| ())
    }
}

#[test]
fn a_statement_of_the_one_shape_is_read() {
    assert_eq!(parts().parse(), Ok(()));
}

#[test]
fn a_statement_with_another_tag_or_none_is_refused() {
    for tag in [17, 19, 98, 61] {
        let error = Parts { tag, ..parts() }.parse().unwrap_err();
        assert!(
            matches!(error, CborError::Unexpected { at: 0, .. }),
            "{error}"
        );
    }
    let untagged = &statement("t", vec![])[1..];
    assert!(matches!(
        Sign1::parse(untagged),
        Err(CborError::Unexpected { at: 0, .. })
    ));
    // Tag 18 in two bytes.
    let long = [vec![0xd8, 18], untagged.to_vec()].concat();
    assert_eq!(Sign1::parse(&long), Err(CborError::NotShortest { at: 0 }));
}

#[test]
fn a_statement_with_an_unprotected_header_is_refused() {
    for (unprotected, key) in [
        (vec![0xa1, 0x04, 0x41, 0x31], 4),
        (vec![0xa1, 0x19, 0x01, 0x8a, 0x80], 394),
    ] {
        let error = Parts {
            unprotected,
            ..parts()
        }
        .parse()
        .unwrap_err();
        assert!(
            matches!(error, CborError::UnknownKey { key: k, .. } if k == key),
            "{error}"
        );
    }
}

#[test]
fn a_statement_with_another_algorithm_is_refused() {
    for alg in [-8, -7, -48, 19, 0] {
        let error = Parts {
            protected: protected(3, alg, 32),
            ..parts()
        }
        .parse()
        .unwrap_err();
        let expected = "algorithm -19 (Ed25519)";
        assert!(
            matches!(error, CborError::Unexpected { expected: e, .. } if e == expected),
            "{error}"
        );
    }
}

#[test]
fn a_statement_with_a_key_id_of_another_length_is_refused() {
    for kid in [0, 31, 33] {
        let error = Parts {
            protected: protected(3, ALG_ED25519, kid),
            ..parts()
        }
        .parse()
        .unwrap_err();
        assert!(matches!(error, CborError::OutOfRange { .. }), "{error}");
    }
}

#[test]
fn a_statement_with_more_fewer_or_disordered_headers_is_refused() {
    for n in [2, 4] {
        let error = Parts {
            protected: protected(n, ALG_ED25519, 32),
            ..parts()
        }
        .parse()
        .unwrap_err();
        assert!(
            matches!(
                error,
                CborError::OutOfRange {
                    what: "length of a map",
                    ..
                }
            ),
            "{error}"
        );
    }
    let mut w = Writer::new();
    w.map(3);
    w.int(4);
    w.bytes(&[1; 32]);
    w.int(1);
    w.int(ALG_ED25519);
    w.int(16);
    w.text("t");
    let error = Parts {
        protected: w.into_bytes(),
        ..parts()
    }
    .parse()
    .unwrap_err();
    assert!(
        matches!(
            error,
            CborError::Unexpected {
                expected: "header 1 (algorithm)",
                ..
            }
        ),
        "{error}"
    );
    let mut trailing = protected(3, ALG_ED25519, 32);
    trailing.push(0);
    let error = Parts {
        protected: trailing,
        ..parts()
    }
    .parse()
    .unwrap_err();
    assert!(matches!(error, CborError::Trailing { .. }), "{error}");
}

#[test]
fn a_statement_of_other_than_four_parts_is_refused() {
    for length in [3, 5] {
        let error = Parts { length, ..parts() }.parse().unwrap_err();
        assert!(
            matches!(
                error,
                CborError::OutOfRange {
                    what: "length of an array",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_statement_without_its_payload_is_refused() {
    let error = Parts {
        payload: vec![0xf6],
        ..parts()
    }
    .parse()
    .unwrap_err();
    assert!(matches!(error, CborError::Simple { .. }), "{error}");
}

#[test]
fn a_signature_of_another_length_is_refused() {
    for n in [0, 63, 65] {
        let error = Parts {
            signature: vec![0; n],
            ..parts()
        }
        .parse()
        .unwrap_err();
        assert!(matches!(error, CborError::OutOfRange { .. }), "{error}");
    }
}

#[test]
fn an_entry_of_an_unknown_type_is_refused() {
    let payload = made_up_payload(Kind::Event, &mut Choices::Full(0));
    for typ in [
        "",
        "application/countersign.receipt+cose",
        "application/countersign.EVENT+cose",
    ] {
        assert_eq!(
            Entry::parse(&statement(typ, payload.clone())).unwrap_err(),
            EntryError::UnknownType
        );
    }
}

#[test]
fn the_type_of_an_entry_is_signed() {
    // Bodies of two kinds can look alike (an event with details, a gap), so only the signature keeps them apart.
    let payload = made_up_payload(Kind::Event, &mut Choices::Full(0));
    let (event, gap) = (
        statement(Kind::Event.typ(), payload.clone()),
        statement(Kind::Gap.typ(), payload),
    );
    let (event, gap) = (Entry::parse(&event).unwrap(), Entry::parse(&gap).unwrap());
    assert_ne!(event.to_be_signed(), gap.to_be_signed());
}

#[test]
fn an_entry_larger_than_a_tile_can_hold_is_refused() {
    let bytes = vec![0; MAX_ENTRY_BYTES + 1];
    assert_eq!(
        Entry::parse(&bytes).unwrap_err(),
        EntryError::TooLarge {
            found: MAX_ENTRY_BYTES + 1
        }
    );
}

#[test]
fn extensions_survive_reading_in_the_map_where_they_stood() {
    let mut payload = Entry::parse(&statement(
        Kind::Event.typ(),
        made_up_payload(Kind::Event, &mut Choices::Full(0)),
    ))
    .unwrap()
    .payload()
    .clone();
    let critical = Extensions::new(vec![(7, Bytes(vec![7])), (3, Bytes(vec![3]))]);
    payload.critical = critical.clone();
    payload.optional = None;
    let bytes = payload
        .unsigned(KeyId([1; 32]))
        .with_signature(Signature([2; 64]));
    let entry = Entry::parse(&bytes).unwrap();
    assert_eq!(entry.payload().critical, critical);
    assert_eq!(entry.payload().optional, None);
    assert_eq!(
        critical.unwrap().pairs(),
        [(3, Bytes(vec![3])), (7, Bytes(vec![7]))]
    );
}

#[test]
fn an_extension_map_is_never_empty_repeated_or_out_of_order() {
    assert_eq!(Extensions::new(vec![]), None);
    assert_eq!(
        Extensions::new(vec![(1, Bytes(vec![1])), (1, Bytes(vec![2]))]),
        None
    );
    assert!(matches!(
        Extensions::from_bytes(&[0xa0]),
        Err(CborError::OutOfRange { at: 0, .. })
    ));
    let two = |a, b| Extensions::from_bytes(&[0xa2, a, 0x40, b, 0x40]);
    assert!(two(1, 2).is_ok());
    assert_eq!(two(1, 1), Err(CborError::KeyOrder { at: 3, key: 1 }));
    assert_eq!(two(2, 1), Err(CborError::KeyOrder { at: 3, key: 1 }));
    assert!(matches!(
        Extensions::from_bytes(&[0xa1, 0x20, 0x40]),
        Err(CborError::Unexpected { .. })
    ));
    assert!(matches!(
        Extensions::from_bytes(&[0xa1, 0x01, 0x01]),
        Err(CborError::Unexpected { .. })
    ));
}

#[test]
fn no_two_statements_share_a_type() {
    use crate::{bundle, channel, receipt, statement};
    let mut types: Vec<&str> = Kind::ALL.iter().map(|k| k.typ()).collect();
    types.extend([
        statement::FLEET_TYP,
        statement::APPROVAL_TYP,
        statement::RECOVER_TYP,
        statement::ADOPT_TYP,
        bundle::BUNDLE_TYP,
        receipt::RECEIPT_TYP,
        channel::CHANNEL_TYP,
    ]);
    let count = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), count);
}
