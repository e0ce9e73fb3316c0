//! Lines of standard input and output, bounded.
//!
//! In: bytes. Out: whole lines, in order; a line that is too long is passed over and said to be. Each stream has a
//! thread of its own, because a terminal or pipe may keep it waiting for ever.

use bytes::Bytes;
use std::io::{self, BufRead, Write};
use tokio::sync::{mpsc, oneshot};

/// Longest message of the client, in bytes (1 MiB): the gateway takes no longer one.
pub(super) const MAX_LINE_BYTES: usize = countersign_gateway::request::MAX_BODY_BYTES;

/// Lines that wait, in either direction. A client that does not read keeps the gateway's streams waiting, not memory.
const WAITING: usize = 64;

/// What stands on a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A message, perhaps.
    Whole(Bytes),
    /// More than any message may have.
    TooLong,
}

/// Lines of standard input, until its end.
pub(super) fn input() -> mpsc::Receiver<Line> {
    let (say, hear) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut from = io::stdin().lock();
        while let Ok(Some(line)) = next(&mut from, MAX_LINE_BYTES) {
            if say.blocking_send(line).is_err() {
                return;
            }
        }
    });
    hear
}

/// Where lines for standard output go, and word that all of them are written.
pub(super) fn output() -> (mpsc::Sender<Bytes>, oneshot::Receiver<()>) {
    let (say, mut hear) = mpsc::channel::<Bytes>(WAITING);
    let (done, written) = oneshot::channel();
    std::thread::spawn(move || {
        let mut to = io::stdout().lock();
        while let Some(line) = hear.blocking_recv() {
            // Nobody reads any more: then nobody can be told that, either.
            if write(&mut to, &line).is_err() {
                break;
            }
        }
        // Whoever waits for it may have gone.
        let _gone = done.send(());
    });
    (say, written)
}

fn write(to: &mut impl Write, line: &[u8]) -> io::Result<()> {
    to.write_all(line)?;
    to.write_all(b"\n")?;
    to.flush()
}

/// The next line that is not empty; nothing at the end.
fn next(from: &mut impl BufRead, limit: usize) -> io::Result<Option<Line>> {
    loop {
        let mut line = Vec::new();
        let mut long = false;
        let ended = loop {
            let piece = from.fill_buf()?;
            if piece.is_empty() {
                break true;
            }
            let end = piece.iter().position(|b| *b == b'\n');
            let text = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
            long |= line.len().saturating_add(text.len()) > limit;
            if !long {
                line.extend_from_slice(text);
            }
            let used = text.len().saturating_add(usize::from(end.is_some()));
            from.consume(used);
            if end.is_some() {
                break false;
            }
        };
        if long {
            return Ok(Some(Line::TooLong));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(Line::Whole(Bytes::from(line))));
        }
        if ended {
            return Ok(None);
        }
    }
}

/// A message on one line. Between tokens JSON may have line breaks, which are spaces as well; inside strings it has none.
pub(super) fn on_one_line(message: &[u8]) -> Bytes {
    let spaced = message.trim_ascii().iter().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => *other,
    });
    spaced.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, limit: usize) -> Vec<Line> {
        let mut from = io::BufReader::with_capacity(3, text.as_bytes());
        std::iter::from_fn(|| next(&mut from, limit).unwrap()).collect()
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_come_whole_and_empty_ones_do_not_count() {
        assert_eq!(
            all("{1}\n\n  \n{2}\r\n{3}", 8),
            [whole("{1}"), whole("{2}\r"), whole("{3}")]
        );
        assert_eq!(all("", 8), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_one_is_read() {
        assert_eq!(
            all("12345678\n123456789\n1\n", 8),
            [whole("12345678"), Line::TooLong, whole("1")]
        );
        assert_eq!(all("123456789", 8), [Line::TooLong]);
    }

    #[test]
    fn line_breaks_between_tokens_become_spaces() {
        assert_eq!(
            on_one_line(b"{\r\n \"a\": \"\\n\"\n}\n"),
            &b"{   \"a\": \"\\n\" }"[..]
        );
    }
}
