//! A child process, awaited by what it says.
//!
//! In: a command. Out: its lines, its end. Dropping it kills it: no test leaves a process behind.

use crate::PATIENCE;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running program.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    said: Arc<Said>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Said {
    text: Mutex<String>,
    more: Condvar,
}

impl Process {
    /// Starts a program.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// Starts a program with this as its standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_with(command: &mut Command, stdin: Stdio) -> Self {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
        let said = Arc::new(Said::default());
        let (say, lines) = channel();
        let out = child.stdout.take().expect("standard output is piped");
        let err = child.stderr.take().expect("standard error is piped");
        let readers = vec![
            read(out, Arc::clone(&said), Some(say)),
            read(err, Arc::clone(&said), None),
        ];
        Self {
            child,
            lines,
            said,
            readers,
        }
    }

    /// The next line of standard output; `None` at its end.
    ///
    /// # Panics
    /// If nothing comes for [`PATIENCE`].
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                panic!(
                    "nothing was said for {PATIENCE:?}; so far:\n{}",
                    self.said()
                )
            }
        }
    }

    /// Everything that it has written so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.text.lock().unwrap().clone()
    }

    /// Waits until it has written `text`.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    pub fn wait_said(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        let mut said = self.said.text.lock().unwrap();
        while !said.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{text:?} was not said; so far:\n{said}");
            said = self.said.more.wait_timeout(said, left).unwrap().0;
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id is small");
        if let Some(id) = rustix::process::Pid::from_raw(id) {
            // It may have ended by itself.
            let _gone = rustix::process::kill_process(id, signal);
        }
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _status = self.end();
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.end()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be asked")
            .is_some()
    }

    /// Waits for its end, and for all that it wrote.
    ///
    /// # Panics
    /// If it does not end within [`PATIENCE`].
    pub fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                // What it wrote last may still be on its way; what it started may hold the pipe open for ever.
                let last_words = Instant::now() + Duration::from_secs(2);
                while self.readers.iter().any(|r| !r.is_finished()) && Instant::now() < last_words {
                    std::thread::sleep(Duration::from_millis(1));
                }
                return status;
            }
            assert!(
                Instant::now() < end,
                "it does not end; so far:\n{}",
                self.said()
            );
            // The standard library has no wait with a limit; this is not a step of a test.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn read(
    from: impl Read + Send + 'static,
    said: Arc<Said>,
    to: Option<std::sync::mpsc::Sender<String>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            {
                let mut text = said.text.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
            said.more.notify_all();
            if let Some(to) = &to {
                // Nobody waits for lines any more.
                let _unheard = to.send(line);
            }
        }
    })
}

/// Runs a command to its end; its standard output.
///
/// # Panics
/// If it fails.
pub fn run(command: &mut Command) -> String {
    let (status, out, err) = outcome(command);
    assert!(status.success(), "{command:?}: {status}\n{out}{err}");
    out
}

/// Runs a command to its end, whatever comes of it: status, standard output, standard error.
///
/// # Panics
/// If it cannot be started.
pub fn outcome(command: &mut Command) -> (ExitStatus, String, String) {
    outcome_with(command, Stdio::null())
}

/// The same, with this as its standard input.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn outcome_with(command: &mut Command, stdin: Stdio) -> (ExitStatus, String, String) {
    let done = command
        .stdin(stdin)
        .output()
        .unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status, text(&done.stdout), text(&done.stderr))
}
