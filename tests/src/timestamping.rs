//! A timestamping authority: `openssl ts` behind `docs/timestamp-server.py`, and a wire to it that the operator owns.
//!
//! In: what the operator makes of the wire ([`Wire`]). Out: sections for settings and trust files.

use crate::process::Process;
use countersign_timestamps::exchange::{MAX_REPLY_BYTES, QUERY_TYPE, REPLY_TYPE};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// An authority that others run, with keys of its own.
pub struct Authority {
    name: String,
    directory: TempDir,
    process: Option<Process>,
    address: String,
}

impl Authority {
    /// An authority that runs.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let mut this = Self {
            name: name.to_owned(),
            directory: tempfile::tempdir().expect("a temporary directory"),
            process: None,
            address: "127.0.0.1:0".to_owned(),
        };
        this.restart();
        this
    }

    /// Starts it, on the port that it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/timestamp-server.py");
        let mut serve = Command::new("python3");
        serve.arg(script).arg(self.keys()).arg(&self.address);
        let process = Process::start(&mut serve);
        let line = process
            .line()
            .unwrap_or_else(|| panic!("the authority ended:\n{}", process.said()));
        self.address = line
            .strip_prefix("ready http://")
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_else(|| panic!("{line}"))
            .to_owned();
        self.process = Some(process);
    }

    /// Stops it, if it runs.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    /// File of its root certificate, in PEM.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.keys().join("root.pem")
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The lines of a site's settings that name it.
    #[must_use]
    pub fn settings(&self) -> String {
        self.settings_by(&self.address)
    }

    /// The same, where the gateway reaches it at another address.
    #[must_use]
    pub fn settings_by(&self, address: &str) -> String {
        let url = format!("url = \"http://{address}/\"\n");
        let trusted = self.trusted();
        trusted.replacen("root = ", &(url + "root = "), 1)
    }

    /// The lines of a trust file that name it.
    ///
    /// # Panics
    /// If it has no root.
    #[must_use]
    pub fn trusted(&self) -> String {
        let root = fs::read_to_string(self.root()).expect("it made its root");
        format!(
            "[[timestamping]]\nname = \"{}\"\nroot = \"\"\"\n{root}\"\"\"\n",
            self.name
        )
    }
}

/// What the operator makes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// The question is about other bytes.
    OtherImprint,
    /// The question has another nonce.
    OtherNonce,
    /// The first answer that went through is given again.
    Replay,
    /// The answer is longer than one may be, and well formed to that point.
    TooLong,
    /// The answer comes, a byte at a time, and never ends.
    Drip,
    /// The answer is a server's failure, with a good token in it.
    Failure,
    /// The answer says to ask elsewhere, where a good token would be had.
    Redirect,
    /// The authority refuses, in the words of the protocol.
    Refusal,
}

/// A wire to an authority, which the operator owns.
pub struct Wire {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    authority: String,
    fault: Mutex<Fault>,
    first: Mutex<Option<Vec<u8>>>,
}

impl Wire {
    /// A wire that goes to this authority.
    ///
    /// # Panics
    /// If it cannot be laid.
    #[must_use]
    pub fn to(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let shared = Arc::new(Shared {
            authority: authority.address().to_owned(),
            fault: Mutex::new(Fault::None),
            first: Mutex::new(None),
        });
        let serving = Arc::clone(&shared);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // Whoever asked may have gone away.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Self { address, shared }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What happens to questions from now on.
    ///
    /// # Panics
    /// If the wire has failed.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut question = read_message(&mut BufReader::new(stream.try_clone()?))?.1;
        let fault = *self.fault.lock().unwrap();
        // In a question the imprint is 32 bytes after 04 20, the nonce what stands before the last three bytes.
        match fault {
            Fault::OtherImprint => {
                let at = question.windows(2).position(|w| w == [4, 32]).unwrap();
                question[at + 2] ^= 1;
            }
            Fault::OtherNonce => {
                let at = question.len() - 4;
                question[at] ^= 1;
            }
            Fault::None
            | Fault::Replay
            | Fault::TooLong
            | Fault::Drip
            | Fault::Failure
            | Fault::Redirect
            | Fault::Refusal => {}
        }
        let answer = self.forward(&question)?;
        let mut first = self.first.lock().unwrap();
        let kept = first.get_or_insert_with(|| answer.clone()).clone();
        drop(first);
        match fault {
            Fault::None | Fault::OtherImprint | Fault::OtherNonce => {
                write_answer(&mut stream, "200 OK", "", &answer)
            }
            Fault::Replay => write_answer(&mut stream, "200 OK", "", &kept),
            Fault::TooLong => {
                let long = [answer, vec![0; MAX_REPLY_BYTES]].concat();
                write_answer(&mut stream, "200 OK", "", &long)
            }
            Fault::Failure => write_answer(&mut stream, "500 Internal Server Error", "", &answer),
            Fault::Redirect => {
                let location = format!("Location: http://{}/\r\n", self.authority);
                write_answer(&mut stream, "307 Temporary Redirect", &location, &answer)
            }
            // TimeStampResp, PKIStatusInfo, status 2: rejection.
            Fault::Refusal => write_answer(&mut stream, "200 OK", "", &[0x30, 5, 0x30, 3, 2, 1, 2]),
            Fault::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                // What comes would be a good answer, if it came.
                for byte in answer.iter().cycle() {
                    stream.write_all(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n'])?;
                    thread::sleep(Duration::from_millis(100));
                }
                Ok(())
            }
        }
    }

    fn forward(&self, question: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.authority)?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: {QUERY_TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.authority,
            question.len()
        )?;
        stream.write_all(question)?;
        let (head, body) = read_message(&mut BufReader::new(stream))?;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Ok(body)
    }
}

/// Head and body of a message whose length is said.
fn read_message(stream: &mut BufReader<TcpStream>) -> std::io::Result<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let before = head.len();
        if stream.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = head[before..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length is a number");
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

fn write_answer(
    stream: &mut impl Write,
    status: &str,
    header: &str,
    body: &[u8],
) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {REPLY_TYPE}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)
}
