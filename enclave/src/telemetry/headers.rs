//! Headers that show an endpoint who sends, such as one with a key.
//!
//! In: a file of lines `name: value`, which only the gateway's user can read. Out: those headers. What an error says names
//! the file and the line, never what stands there.

use anyhow::{Context as _, bail, ensure};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest file, in bytes; a key has some dozens.
const MAX_BYTES: u64 = 16 * 1024;
/// Most headers.
const MAX_HEADERS: usize = 16;
/// What belongs to the message, and is not for the file to say.
const OURS: [HeaderName; 5] = [
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TRANSFER_ENCODING,
];

/// Reads the file.
pub(super) fn read(path: &Path) -> anyhow::Result<HeaderMap> {
    let shown = format!("telemetry.headers: {}", path.display());
    let file = File::open(path).with_context(|| shown.clone())?;
    // Of the file that is open, whatever has its name by now.
    let mode = file
        .metadata()
        .with_context(|| shown.clone())?
        .permissions()
        .mode();
    ensure!(
        mode & 0o077 == 0,
        "{shown} is readable by others (mode {:o}); expected mode 600",
        mode & 0o777
    );
    let mut text = Zeroizing::new(String::with_capacity(
        usize::try_from(MAX_BYTES).unwrap_or_default(),
    ));
    let read = file.take(MAX_BYTES).read_to_string(&mut text);
    let length = u64::try_from(read.with_context(|| shown.clone())?).unwrap_or(MAX_BYTES);
    ensure!(
        length < MAX_BYTES,
        "{shown} is too long; expected fewer than {MAX_BYTES} bytes"
    );
    parse(&text).with_context(|| shown)
}

fn parse(text: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (number, line) in (1u32..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let header = header(line).with_context(|| format!("line {number}"))?;
        ensure!(
            headers.len() < MAX_HEADERS,
            "line {number}: more than {MAX_HEADERS} headers"
        );
        headers.append(header.0, header.1);
    }
    ensure!(
        !headers.is_empty(),
        "no header; expected lines such as `authorization: Bearer …`"
    );
    Ok(headers)
}

fn header(line: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let Some((name, value)) = line.split_once(':') else {
        bail!("expected a name, a colon and a value");
    };
    let name: HeaderName = name.trim().parse().context("not the name of a header")?;
    ensure!(
        !OURS.contains(&name),
        "`{name}` belongs to the message itself"
    );
    let mut value: HeaderValue = value.trim().parse().context("not the value of a header")?;
    // Whatever prints headers leaves it out.
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_line_is_a_header_and_none_is_printed() {
        let headers = parse("# a key\nauthorization: Bearer s3cret\n\n x-scope :a: b \n").unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-scope"], "a: b");
        assert!(!format!("{headers:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_no_header_is_refused_by_its_line_and_not_repeated() {
        let many = "a: b\n".repeat(17);
        for (text, said) in [
            ("", "no header"),
            ("# only this\n", "no header"),
            ("a: b\ns3cret", "line 2: expected a name"),
            ("s3 cret: b", "line 1: not the name"),
            ("a: s3cret\u{7}", "line 1: not the value"),
            ("Host: s3cret", "line 1: `host` belongs"),
            ("content-type: s3cret", "line 1: `content-type` belongs"),
            (&many, "line 17: more than 16"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.starts_with(said), "{error}");
            assert!(!error.contains("s3"), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_that_never_ends_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path).map_err(|e| format!("{e:#}"))
        };
        assert!(write("a: b", 0o600).is_ok());
        assert!(write("a: b", 0o640).unwrap_err().contains("mode 640"));
        let long = format!("a: {}", "b".repeat(16 * 1024));
        assert!(write(&long, 0o600).unwrap_err().contains("too long"));
        assert!(read(&dir.path().join("none")).is_err());
    }
}
