//! Notes, keys and cosignatures: what is found, and what is refused.

use super::example::{example, public_key};
use crate::checkpoint::Checkpoint;
use crate::digest::Signature;
use crate::note::{Cosignature, Note, NoteError, NoteKey, Role, UnixSeconds, parse_lines};

fn witness_key() -> NoteKey {
    NoteKey::new("witness.example/w1", Role::Witness, public_key("approver")).unwrap()
}

#[test]
fn a_cosignature_is_found_by_name_and_key_and_type() {
    let e = example();
    let key = witness_key();
    let (time, signature) = (UnixSeconds(1_700_000_000), Signature([7; 64]));
    let text = e.checkpoint.clone() + &key.cosignature_line(time, &signature);
    let note = Checkpoint::parse(text.as_bytes(), &e.gateway).unwrap();
    let of = |key: &NoteKey| note.lines().iter().filter(|l| l.is_of(key)).count();
    assert_eq!(of(&key), 1);
    let other = NoteKey::new("witness.example/w2", Role::Witness, *key.key()).unwrap();
    assert_eq!(of(&other), 0);
    let other = NoteKey::new(key.name(), Role::Log, *key.key()).unwrap();
    assert_eq!(of(&other), 0);
    let other = NoteKey::new(key.name(), Role::Witness, public_key("governance")).unwrap();
    assert_eq!(of(&other), 0);
    let found = note.lines().iter().find(|l| l.is_of(&key)).unwrap();
    assert_eq!(found.cosignature(), Ok(Cosignature { time, signature }));
}

#[test]
fn a_cosignature_of_another_length_or_beyond_all_times_is_refused() {
    let key = witness_key();
    let line = |time: u64| key.cosignature_line(UnixSeconds(time), &Signature([7; 64]));
    let of = |text: &str| parse_lines(text).unwrap()[0].cosignature();
    assert!(of(&line(i64::MAX as u64)).is_ok());
    assert_eq!(
        of(&line(1 << 63)),
        Err(NoteError::Form("a cosignature's time is above 2^63 - 1"))
    );
    let short = key.signature_line(&Signature([7; 64]));
    assert!(matches!(of(&short), Err(NoteError::Form(_))));
}

#[test]
fn the_text_of_a_key_is_read_back_or_refused_by_name() {
    let key = witness_key();
    let text = key.to_string();
    assert_eq!(key.name(), "witness.example/w1");
    assert_eq!(NoteKey::parse(&text), Ok(key));
    let (name, rest) = text.split_once('+').unwrap();
    let (hash, blob) = rest.split_once('+').unwrap();
    for wrong in [
        String::new(),
        name.to_owned(),
        format!("{name}+{hash}"),
        format!("+{hash}+{blob}"),
        format!("a b+{hash}+{blob}"),
        format!("{name}x+{hash}+{blob}"),
        format!("{name}+{}+{blob}", hash.to_uppercase() + "00"),
        format!("{name}+{hash}+{blob}="),
        format!("{name}+{hash}+{}", &blob[..blob.len() - 4]),
        format!("{name}+{hash}+Bg{}", &blob[2..]),
    ] {
        assert!(NoteKey::parse(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_name_with_what_separates_names_is_refused() {
    let new = |name: &str| NoteKey::new(name, Role::Witness, public_key("approver"));
    let line = |name: &str| parse_lines(&format!("\u{2014} {name} AAAAAAA=\n"));
    assert_eq!(line("w").unwrap()[0].name(), "w");
    for name in ["", "a b", "a\u{a0}b", "a+b", "a\u{1}b", "a\u{7f}"] {
        assert!(matches!(new(name), Err(NoteError::Form(_))), "{name:?}");
        assert!(matches!(line(name), Err(NoteError::Form(_))), "{name:?}");
    }
}

#[test]
fn a_note_of_16_kib_is_read_and_a_longer_one_is_not() {
    let of = |length: usize| {
        let end = "\n\n\u{2014} w AAAAAAA=\n";
        let text = "a".repeat(length - end.len());
        Note::parse(format!("{text}{end}").as_bytes()).map(|n| n.text().len())
    };
    let end = "\n\u{2014} w AAAAAAA=\n";
    assert_eq!(of(16384), Ok(16384 - end.len()));
    assert_eq!(of(16385), Err(NoteError::TooLarge { found: 16385 }));
}

#[test]
fn a_line_that_is_no_signature_is_refused() {
    for text in [
        "",
        "\u{2014} w AAAAAAA=",
        "- w AAAAAAA=\n",
        "\u{2014} w\n",
        "\u{2014} w AAA\n",
        "\u{2014} w AAAA\n",
        "\u{2014} w AAAAAAB=\n",
        "\u{2014} w AAAAAAA=\n\n",
    ] {
        assert!(parse_lines(text).is_err(), "{text:?}");
    }
}
