//! `docs/errors.md` and the codes are the same.

use crate::refusal::Code;

const PAGE: &str = include_str!("../../../../docs/errors.md");

#[test]
fn the_page_explains_every_code_and_no_other() {
    let named: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(named, codes);
}

#[test]
fn the_page_has_the_sentence_of_every_code() {
    for code in Code::ALL {
        let section = section(*code);
        let sentence = section.lines().find_map(|l| l.strip_prefix("> "));
        assert_eq!(sentence, Some(code.sentence()), "{}", code.name());
    }
}

#[test]
fn the_page_says_of_every_code_what_it_means_who_sees_it_and_what_to_do() {
    for code in Code::ALL {
        for part in [
            "**Means.** ",
            "**Seen by.** ",
            "**Retry.** ",
            "**Operator.** ",
        ] {
            assert!(
                section(*code)
                    .lines()
                    .any(|l| l.starts_with(part) && l.len() > part.len() + 8),
                "{} lacks {part}",
                code.name()
            );
        }
    }
}

fn section(code: Code) -> &'static str {
    let head = format!("### `{}`\n", code.name());
    let from = PAGE.find(&head).unwrap() + head.len();
    let rest = &PAGE[from..];
    rest.split("\n### `").next().unwrap()
}
