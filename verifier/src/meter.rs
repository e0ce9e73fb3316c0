//! Shows on standard error how far a verification is, and keeps silent where nobody looks.
//!
//! A run that is interrupted is ended by its signal: its exit status is the signal's, standard output is
//! empty, because a report is written in one piece at the end, and the last line here says that there is no verdict.

use countersign_verify::progress::{Progress, line};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Whether progress is shown where standard error is no terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Show {
    /// On a terminal only.
    #[default]
    OnTerminal,
    /// Anyway, a line at a time.
    Always,
}

/// Shows progress until it is dropped or finished.
pub(crate) struct Meter {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Meter {
    /// Begins to show, if anybody looks. `size` is that of the export in bytes, where it is known.
    pub(crate) fn start(show: Show, progress: Arc<Progress>, size: Option<u64>) -> Option<Self> {
        let terminal = stderr().is_terminal();
        if !terminal && show == Show::OnTerminal {
            return None;
        }
        let (stop, stopped) = mpsc::channel();
        let began = now();
        let thread = std::thread::spawn(move || {
            loop {
                let said = line(
                    progress.seen(),
                    size,
                    now().saturating_duration_since(began),
                );
                // Nothing is lost if nobody can read it.
                let _ = if terminal {
                    write!(stderr(), "\r\u{1b}[K{said}")
                } else {
                    writeln!(stderr(), "{said}")
                };
                if stopped.recv_timeout(INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
            }
            if terminal {
                let _ = write!(stderr(), "\r\u{1b}[K");
            }
        });
        Some(Self { stop, thread })
    }

    /// Ends, and takes its line off a terminal.
    pub(crate) fn finish(self) {
        // The thread ends also if this is not heard: the channel is gone then.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a run takes is shown to whoever waits; no verdict depends on it"
)]
fn now() -> Instant {
    Instant::now()
}
