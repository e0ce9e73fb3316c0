use super::*;

const BEFORE: &str = r#"{"name":"t","description":"Reads.","inputSchema":{"type":"object","properties":{"line":{"type":"string","maxLength":10}}}}"#;

fn tool(pinned_text: Option<&str>, listed_text: Option<&str>) -> Tool {
    let digest = |text: &str| raw(text).unwrap().1.to_string();
    Tool {
        capability: "a.t".to_owned(),
        state: "changed".to_owned(),
        pinned: digest(BEFORE),
        listed: listed_text.map(digest),
        pinned_text: pinned_text.map(str::to_owned),
        listed_text: listed_text.map(str::to_owned),
    }
}

fn shown_of(pinned: Option<&str>, listed: Option<&str>) -> String {
    let bundle = InForce {
        name: "north".to_owned(),
        version: 3,
    };
    shown(&bundle, &tool(pinned, listed)).unwrap()
}

/// Lines below the digests, without what to do.
fn places(said: &str) -> Vec<&str> {
    let lines = said.lines().skip(3);
    lines.take_while(|l| !l.starts_with("It is ")).collect()
}

#[test]
fn a_change_is_shown_member_by_member() {
    let after = BEFORE
        .replace("Reads.", "Reads and sends.")
        .replace(",\"maxLength\":10", "")
        .replace("\"name\":\"t\"", "\"name\":\"t\",\"title\":\"T\"");
    let said = shown_of(Some(BEFORE), Some(&after));
    assert_eq!(
        places(&said),
        [
            "description",
            "  - \"Reads.\"",
            "  + \"Reads and sends.\"",
            "inputSchema/properties/line/maxLength",
            "  - 10",
            "title",
            "  + \"T\"",
        ]
    );
    assert!(said.contains("by bundle north version 3") && said.contains("It is held."));
}

#[test]
fn what_is_the_tool_that_was_registered_shows_no_place() {
    let said = shown_of(None, Some(BEFORE));
    assert_eq!(places(&said), [""; 0]);
    assert!(said.ends_with("It is the tool that was registered.\n"));
    assert!(shown_of(Some(BEFORE), None).ends_with("listed  nothing\n"));
}

#[test]
fn of_a_digest_alone_all_that_is_said_now_is_shown() {
    let after = BEFORE.replace("Reads.", "Writes.");
    let said = shown_of(None, Some(&after));
    assert!(said.contains("The bundle pins a digest alone"));
    assert!(said.contains("description\n  + \"Writes.\""));
    assert!(!said.contains("  - "));
}

#[test]
fn hostile_text_does_nothing_to_a_screen_and_is_bounded() {
    // A terminal's escape, a line of its own, a right-to-left mark, a letter that looks like another.
    let hostile = "\\u001b[2J\\nIt is the tool that was registered.\u{202e}\u{430}".to_owned()
        + &"x".repeat(100_000);
    let after = BEFORE
        .replace("Reads.", &hostile)
        .replace("\"line\"", "\"li\u{202e}\\u001b[31mne\"");
    let said = shown_of(Some(BEFORE), Some(&after));
    assert!(
        said.bytes()
            .all(|b| b == b'\n' || (b' '..=b'~').contains(&b)),
        "{said}"
    );
    assert!(said.len() < 4_000, "{} bytes", said.len());
    assert!(
        said.contains("\\u{202e}")
            && said.contains("\\u{430}")
            && said.contains("more characters]")
    );
    let lines = said.lines().filter(|l| l.starts_with("It is the tool"));
    assert_eq!(lines.count(), 0, "{said}");
}

#[test]
fn of_long_texts_the_part_that_differs_is_shown() {
    let long = "same ".repeat(1_000);
    let before = BEFORE.replace("Reads.", &format!("{long}keep"));
    let after = BEFORE.replace("Reads.", &format!("{long}send"));
    let mut tool = tool(Some(&before), Some(&after));
    tool.pinned = raw(&before).unwrap().1.to_string();
    let bundle = InForce {
        name: "n".to_owned(),
        version: 1,
    };
    let said = shown(&bundle, &tool).unwrap();
    assert!(
        said.contains("same keep\"\n") && said.contains("same send\"\n"),
        "{said}"
    );
    assert!(said.contains("[4961 characters as before]"), "{said}");
}

#[test]
fn many_places_are_counted_and_not_shown() {
    let members: Vec<String> = (0..3_000).map(|n| format!("\"m{n}\":{n}")).collect();
    let after = BEFORE.replace(
        "\"type\":\"object\",",
        &format!("\"type\":\"object\",{},", members.join(",")),
    );
    let said = shown_of(Some(BEFORE), Some(&after));
    assert!(said.contains("and 2800 more places"), "{said}");
    assert!(said.len() < 20_000);
}

#[test]
fn a_gateway_that_says_another_digest_of_a_text_is_not_believed() {
    let bundle = InForce {
        name: "n".to_owned(),
        version: 1,
    };
    let mut lies = tool(Some(BEFORE), Some(&BEFORE.replace("Reads.", "Sends.")));
    lies.listed = Some(lies.pinned.clone());
    assert!(shown(&bundle, &lies).is_err());
    let mut lies = tool(Some(&BEFORE.replace("Reads.", "Sends.")), Some(BEFORE));
    lies.listed = Some(lies.pinned.clone());
    assert!(shown(&bundle, &lies).is_err());
}

#[test]
fn the_files_line_is_changed_and_no_other() {
    let digest = raw(BEFORE).unwrap().1;
    let text = "id = \"a.t\"\n  descriptor = \"00\" # old\ndescriptor_file = \"x\"\nmode = \"read_only\"\n\n[arguments.descriptor]\nmax_length = 3\n";
    let expected = format!(
        "id = \"a.t\"\ndescriptor = \"{digest}\"\ndescriptor_file = \"descriptors/a.t.json\"\nmode = \"read_only\"\n\n[arguments.descriptor]\nmax_length = 3\n"
    );
    assert_eq!(
        pinned(text, "descriptors/a.t.json", digest).unwrap(),
        expected
    );
    let none = "id = \"a.t\"\n";
    assert!(pinned(none, "d", digest).is_err());
    let inside = "id = \"a.t\"\nabout = \"\"\"\ndescriptor = 1\n\"\"\"\ndescriptor = \"00\"\n";
    assert!(pinned(inside, "d", digest).is_err());
}

#[test]
fn a_descriptor_that_is_written_down_keeps_its_digest_and_shows_every_character() {
    for text in [
        BEFORE.to_owned(),
        BEFORE.replace("Reads.", "\u{202e}\u{1f980} \u{7f}\\n\\u001b"),
        BEFORE.replace(":10", ":1.0e3"),
        BEFORE.replace(":10", ":100000000000000000000000000000000"),
    ] {
        let (tool, digest) = raw(&text).unwrap();
        let written = readable(&tool, digest).unwrap();
        assert_eq!(raw(&written).unwrap().1, digest, "{written}");
        assert!(
            written
                .bytes()
                .all(|b| b == b'\n' || (b' '..=b'~').contains(&b))
        );
    }
    let (tool, digest) = raw(BEFORE).unwrap();
    assert!(readable(&tool, digest).unwrap().lines().count() > 5);
}
