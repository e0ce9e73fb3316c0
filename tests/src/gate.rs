//! Holds calls of the tool `slow` in the middle, until the test lets go.

use crate::PATIENCE;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

/// Where calls of `slow` arrive.
pub struct Gate(Receiver<Held>);

/// A call that has had its effect and has not answered yet.
pub struct Held {
    /// The line that it was called with.
    pub line: String,
    stream: UnixStream,
}

impl Gate {
    /// A gate for the tool server that works in `directory`.
    ///
    /// # Panics
    /// If there is one already.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        let listener = UnixListener::bind(directory.join("gate")).expect("a gate can be made");
        let (say, hear) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut line = String::new();
                let arrived = BufReader::new(&stream).read_line(&mut line);
                let held = Held {
                    line: line.trim().to_owned(),
                    stream,
                };
                if arrived.is_err() || say.send(held).is_err() {
                    return;
                }
            }
        });
        Self(hear)
    }

    /// Waits for the next call.
    ///
    /// # Panics
    /// If none comes within [`PATIENCE`].
    #[must_use]
    pub fn next(&self) -> Held {
        self.0
            .recv_timeout(PATIENCE)
            .expect("a call reaches the tool")
    }
}

impl Held {
    /// Lets the call answer.
    pub fn release(mut self) {
        // The server may be gone with its gateway.
        let _gone = self.stream.write_all(b"!");
    }
}
