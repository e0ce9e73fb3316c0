use super::*;

fn shape(template: &str) -> Shape {
    Shape::compile("s", template).unwrap()
}

fn refused(template: &str) -> ShapeError {
    Shape::compile("s", template).unwrap_err()
}

#[test]
fn a_hole_takes_its_class_and_nothing_else() {
    let by_id = shape("SELECT * FROM t WHERE id = {int}");
    assert!(by_id.is_whole("SELECT * FROM t WHERE id = 0"));
    assert!(by_id.is_whole("SELECT * FROM t WHERE id = 17"));
    for text in [
        "-1",
        "01",
        "1 ",
        "1 OR 1=1",
        "1;",
        "",
        "1e3",
        "\u{661}",
        "1234567890123456789",
    ] {
        assert!(
            !by_id.is_whole(&format!("SELECT * FROM t WHERE id = {text}")),
            "{text}"
        );
    }
}

#[test]
fn an_email_has_one_local_part_and_a_domain_with_a_dot() {
    let by_email = shape("x '{email}'");
    for good in [
        "a@b.c",
        "ada.l+tag@mail.example.org",
        "a--b@x-y.de",
        "0@0.0",
    ] {
        assert!(by_email.is_whole(&format!("x '{good}'")), "{good}");
    }
    for bad in [
        "a@b", "a@@b.c", "@b.c", "a@", "A@b.c", ".a@b.c", "a.@b.c", "a@-b.c", "a@b-.c", "a@b..c",
        "a b@c.d", "%@b.c", "a'@b.c",
    ] {
        assert!(!by_email.is_whole(&format!("x '{bad}'")), "{bad}");
    }
}

#[test]
fn a_date_and_a_uuid_are_taken_in_one_spelling() {
    let s = shape("'{date}' '{uuid}'");
    assert!(s.is_whole("'2026-11-30' '0189d7a0-1234-7abc-8def-0123456789ab'"));
    assert!(!s.is_whole("'2026-13-30' '0189d7a0-1234-7abc-8def-0123456789ab'"));
    assert!(!s.is_whole("'2026-11-30' '0189D7A0-1234-7abc-8def-0123456789ab'"));
}

#[test]
fn letters_of_patterns_stand_for_themselves() {
    let s = shape("SELECT COUNT(*) FROM t WHERE a = '{word}' AND b+c > 1.5");
    assert!(s.is_whole("SELECT COUNT(*) FROM t WHERE a = 'x_1' AND b+c > 1.5"));
    assert!(!s.is_whole("SELECT COUNTTT FROM t WHERE a = 'x_1' AND b+c > 1.5"));
    assert!(!s.is_whole("SELECT COUNT(*) FROM t WHERE a = 'x_1' AND bbc > 1x5"));
}

#[test]
fn a_text_hole_outside_quotes_is_refused() {
    assert!(matches!(
        refused("SELECT {word} FROM t"),
        ShapeError::Quotes { hole: "word", .. }
    ));
    assert!(matches!(
        refused("x = 'a{word}'"),
        ShapeError::Quotes { hole: "word", .. }
    ));
    assert!(matches!(
        refused("x = ''{word}''"),
        ShapeError::Quotes { hole: "word", .. }
    ));
}

#[test]
fn a_number_hole_inside_quotes_is_refused() {
    assert!(matches!(
        refused("x = '{int}'"),
        ShapeError::Quotes { hole: "int", .. }
    ));
}

#[test]
fn a_number_that_would_join_its_neighbour_is_refused() {
    assert!(matches!(
        refused("x = -{int}"),
        ShapeError::Touching { hole: "int" }
    ));
    assert!(matches!(
        refused("x = {int}{int}"),
        ShapeError::Touching { hole: "int" }
    ));
    assert!(matches!(
        refused("{int} = x"),
        ShapeError::Touching { hole: "int" }
    ));
}

#[test]
fn quotes_that_do_not_pair_are_refused() {
    assert_eq!(refused("x = '{word}' AND y = '"), ShapeError::Unpaired);
}

#[test]
fn braces_without_partners_are_refused() {
    assert_eq!(refused("x = {int"), ShapeError::Brace);
    assert_eq!(refused("x = int}"), ShapeError::Brace);
}

#[test]
fn an_unknown_hole_is_refused() {
    assert!(matches!(
        refused("x = {any}"),
        ShapeError::UnknownHole { .. }
    ));
}

#[test]
fn comments_and_further_statements_are_refused() {
    for template in ["a; b", "a -- b", "a /* b", "a */ b", "a # b", "a \\ b"] {
        assert!(
            matches!(refused(template), ShapeError::Separator { .. }),
            "{template}"
        );
    }
}

#[test]
fn blanks_and_letters_that_cannot_be_seen_are_refused() {
    for template in ["a  b", " a", "a "] {
        assert_eq!(refused(template), ShapeError::Blanks, "{template}");
    }
    for template in ["a\tb", "a\nb", "\u{430}", "a\u{a0}b"] {
        assert!(
            matches!(refused(template), ShapeError::Character { .. }),
            "{template}"
        );
    }
    assert_eq!(refused(""), ShapeError::Length { found: 0 });
}
