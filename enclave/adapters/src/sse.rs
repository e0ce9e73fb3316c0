//! Server-sent events as MCP uses them: only the text of an event counts.
//!
//! *In:* pieces of a response body. *Out:* the `data` of each event, bounded. Event names, ids
//! and retry times are passed over, since streams are not resumed. Pure.
//!
//! SPEC: WHATWG HTML, "Server-sent events", 9.2.6.

use std::collections::VecDeque;

use bytes::Bytes;

/// An event or a line was over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event is over {limit} bytes")]
pub struct EventTooLarge {
    /// The limit in bytes.
    pub limit: usize,
}

/// Reads a stream of events piece by piece.
#[derive(Debug)]
pub struct Events {
    limit: usize,
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    after_return: AfterReturn,
    ready: VecDeque<Bytes>,
}

/// Whether the byte before was a carriage return, whose line feed belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterReturn {
    Yes,
    No,
}

impl Events {
    /// Of events of at most so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            data: None,
            after_return: AfterReturn::No,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// If an event is over the limit.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), EventTooLarge> {
        if self.after_return == AfterReturn::Yes && !piece.is_empty() {
            self.after_return = AfterReturn::No;
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        while let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (head, rest) = piece.split_at(end);
            self.line.extend_from_slice(head);
            self.end_line()?;
            piece = match rest {
                [b'\r', b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.after_return = AfterReturn::Yes;
                    &[]
                }
                [_, after @ ..] => after,
                [] => &[],
            };
        }
        self.line.extend_from_slice(piece);
        self.bounded()
    }

    /// The next complete event.
    pub fn next_event(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) -> Result<(), EventTooLarge> {
        self.bounded()?;
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            // An event without data, or with empty data, only keeps the connection open.
            if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
                self.ready.push_back(Bytes::from(data));
            }
            return Ok(());
        }
        let value = match line.strip_prefix(b"data:") {
            Some(value) => value.strip_prefix(b" ").unwrap_or(value),
            None if line == b"data" => b"",
            None => return Ok(()),
        };
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
        self.bounded()
    }

    fn bounded(&self) -> Result<(), EventTooLarge> {
        let held = self
            .data
            .as_ref()
            .map_or(0, Vec::len)
            .saturating_add(self.line.len());
        // "data: " stands before the text.
        if held > self.limit.saturating_add(8) {
            return Err(EventTooLarge { limit: self.limit });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, size: usize) -> Vec<String> {
        let mut events = Events::new(64);
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            events.push(piece).unwrap();
            while let Some(event) = events.next_event() {
                found.push(String::from_utf8(event.to_vec()).unwrap());
            }
        }
        found
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let text = ": hello\r\n\r\nid: 1\ndata:\n\nevent: message\ndata: {\"a\":\ndata:1}\n\ndata: x\r\rdata:  y\r\n\r\ndata: lost";
        for size in 1..text.len() {
            assert_eq!(
                all(text, size),
                ["{\"a\":\n1}", "x", " y"],
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut events = Events::new(64);
        let outcome = (0..100).try_for_each(|_| events.push(b"data: xx"));
        assert_eq!(outcome, Err(EventTooLarge { limit: 64 }));
    }

    #[test]
    fn an_event_of_endless_lines_is_refused() {
        let mut events = Events::new(64);
        let outcome = (0..100).try_for_each(|_| events.push(b"data: xx\n"));
        assert_eq!(outcome, Err(EventTooLarge { limit: 64 }));
    }
}
