//! Names that Cedar's grammar accepts, made from names that it does not, reversibly.
//!
//! In: any text. Out: `[A-Za-z0-9_]+`. Letters and digits stay; `_` becomes `__`; every other
//! byte becomes `_` and two lower-case hexadecimal digits. After a `_` comes either `_` or a
//! hexadecimal digit, so two texts never share a name (`a-b` is `a_2db`, `a_b` is `a__b`).

/// The identifier of a text.
#[must_use]
pub fn mangle(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(b)),
            b'_' => out.push_str("__"),
            _ => {
                out.push('_');
                out.push_str(&hex::encode([b]));
            }
        }
    }
    out
}

/// The text of an identifier; `None` if [`mangle`] makes no such identifier.
#[must_use]
pub fn unmangle(name: &str) -> Option<String> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(b),
            b'_' => match bytes.next()? {
                b'_' => out.push(b'_'),
                high => {
                    let mut byte = [0u8];
                    hex::decode_to_slice([high, bytes.next()?], &mut byte).ok()?;
                    out.extend_from_slice(&byte);
                }
            },
            _ => return None,
        }
    }
    let text = String::from_utf8(out).ok()?;
    (mangle(&text) == name).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_comes_back(text in ".{0,40}") {
            prop_assert_eq!(unmangle(&mangle(&text)), Some(text));
        }

        #[test]
        fn two_texts_never_share_a_name(a in "[-_.a-f0-9]{0,8}", b in "[-_.a-f0-9]{0,8}") {
            prop_assert_eq!(mangle(&a) == mangle(&b), a == b);
        }

        #[test]
        fn a_name_is_an_identifier_behind_a_letter(text in ".{0,40}") {
            prop_assert!(mangle(&text).bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        }

        #[test]
        fn what_unmangles_mangles_back(name in "[_0-9a-zA-Z-]{0,16}") {
            if let Some(text) = unmangle(&name) {
                prop_assert_eq!(mangle(&text), name);
            }
        }
    }

    #[test]
    fn hyphen_and_underscore_do_not_collide() {
        assert_eq!(mangle("a-b"), "a_2db");
        assert_eq!(mangle("a_b"), "a__b");
        assert_eq!(mangle("a_2db"), "a__2db");
    }

    #[test]
    fn upper_case_hexadecimal_is_no_second_spelling() {
        assert_eq!(unmangle("a_2Db"), None);
    }
}
