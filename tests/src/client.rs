//! An agent: HTTP/1.1 on one kept connection, in the clear or over TLS, with a token or signatures (RFC 9421).
//!
//! In: calls and MCP messages. Out: answers, and the receipts that came with them.

use crate::interface::expect_described;
use crate::{PATIENCE, certificates};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_record::cbor::Cbor as _;
use countersign_record::cose::Sign1;
use countersign_record::digest::PublicKey;
use countersign_record::receipt::Receipt;
use countersign_signatures::http::{
    Header, HttpRequest, Scheme, SigningParameters, UnixSeconds, sign_request,
};
use ed25519_dalek::{Signer as _, SigningKey};
use rustls::{ClientConfig, StreamOwned};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a client shows who it is.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Not at all.
    None,
    /// A bearer token.
    Token(String),
    /// A signature on every request.
    Key(SigningKey),
}

/// A client with one connection, made anew when it is gone.
pub struct Client {
    authority: String,
    credential: Credential,
    tls: Option<Arc<ClientConfig>>,
    patience: Duration,
    stream: Option<BufReader<Box<dyn Wire>>>,
    /// Method and path of what was sent and is not answered yet.
    sent: VecDeque<(String, String)>,
}

/// What bytes go over.
trait Wire: io::Read + io::Write + Send {}

impl<T: io::Read + io::Write + Send> Wire for T {}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All header fields of a name, in their order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.headers.iter().filter(move |(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// The answer to a call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status of the response.
    pub status: u16,
    /// The whole body.
    pub body: Value,
}

impl Answer {
    /// Whether a result was released.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.body["status"] == "ok"
    }

    /// Code of the refusal; empty if there is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["refusal"]["code"].as_str().unwrap_or_default()
    }

    /// Text of the result; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        self.body["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
    }

    /// Digest of the record, hexadecimal.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.body["audit"]["digest"].as_str()
    }

    /// Leaf index of the record.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.body["audit"]["index"].as_u64()
    }

    /// The receipt, base64.
    #[must_use]
    pub fn receipt(&self) -> Option<&str> {
        self.body["audit"]["receipt"].as_str()
    }

    /// The receipt's content; its signature is the verifier's to judge.
    ///
    /// # Panics
    /// If there is none, or it is malformed.
    #[must_use]
    pub fn opened_receipt(&self) -> Receipt {
        let bytes = STANDARD
            .decode(self.receipt().expect("a receipt"))
            .expect("base64");
        let sign1 = Sign1::parse(&bytes).expect("a signed receipt");
        Receipt::from_bytes(sign1.payload()).expect("a receipt")
    }
}

impl Client {
    /// A client of the gateway at `authority`; it connects with its first request.
    #[must_use]
    pub fn new(authority: &str, credential: Credential) -> Self {
        Self {
            authority: authority.to_owned(),
            credential,
            tls: None,
            patience: PATIENCE,
            stream: None,
            sent: VecDeque::new(),
        }
    }

    /// The same, for an answer that may take longer than [`PATIENCE`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same over TLS.
    #[must_use]
    pub fn over_tls(mut self, tls: Arc<ClientConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Another client of the same agent.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            authority: self.authority.clone(),
            credential: self.credential.clone(),
            tls: self.tls.clone(),
            patience: self.patience,
            stream: None,
            sent: VecDeque::new(),
        }
    }

    /// The same agent at another address: the gateway after a restart.
    pub fn move_to(&mut self, authority: &str) {
        authority.clone_into(&mut self.authority);
        self.hang_up();
    }

    /// A call with these arguments.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn call(&mut self, capability: &str, arguments: Value) -> io::Result<Answer> {
        self.call_with(json!({ "capability": capability, "arguments": arguments }))
    }

    /// A call with this body.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn call_with(&mut self, body: Value) -> io::Result<Answer> {
        self.call_bytes(body.to_string().as_bytes())
    }

    /// A call with these bytes as body.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn call_bytes(&mut self, body: &[u8]) -> io::Result<Answer> {
        let json = [("content-type", "application/json")];
        let response = self.request("POST", "/v1/calls", &json, body)?;
        let Response { status, body, .. } = response;
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Ok(Answer { status, body })
    }

    /// An MCP message to the tests' tool server.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn mcp(&mut self, message: &Value, headers: &[(&str, &str)]) -> io::Result<Response> {
        let mut all = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        all.extend_from_slice(headers);
        self.request("POST", "/mcp/effects", &all, message.to_string().as_bytes())
    }

    /// A message of the revision without sessions, from a client that can do this, with further headers.
    ///
    /// # Errors
    /// If the connection breaks.
    ///
    /// # Panics
    /// If the message has no method.
    pub fn stateless(
        &mut self,
        path: &str,
        abilities: &Value,
        mut message: Value,
        headers: &[(&str, &str)],
    ) -> io::Result<Response> {
        message["jsonrpc"] = "2.0".into();
        let meta = &mut message["params"]["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        meta["io.modelcontextprotocol/clientCapabilities"] = abilities.clone();
        let params = &message["params"];
        let name = params["name"].as_str().or(params["taskId"].as_str());
        let mut all = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", message["method"].as_str().expect("a method")),
        ];
        all.extend(name.map(|name| ("mcp-name", name)));
        all.extend_from_slice(headers);
        self.request("POST", path, &all, message.to_string().as_bytes())
    }

    /// A request without a body.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"")
    }

    /// Any request; adds `host`, `content-length` and the credential.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        self.send(method, path, headers, body)?;
        self.receive()
    }

    /// Sends a request and does not wait for its answer.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let head = self.head(method, path, headers, body);
        let stream = self.connect()?.get_mut();
        let written = stream.write_all(&[head.as_bytes(), body].concat());
        written.inspect_err(|_| self.hang_up())?;
        self.sent.push_back((method.to_owned(), path.to_owned()));
        Ok(())
    }

    /// Waits for the answer to the request that was sent.
    ///
    /// # Errors
    /// If the connection breaks.
    ///
    /// # Panics
    /// If the answer is not as the interface is described.
    pub fn receive(&mut self) -> io::Result<Response> {
        let Some(stream) = &mut self.stream else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let received = read_response(stream);
        if let (Ok(response), Some((method, path))) = (&received, self.sent.pop_front()) {
            expect_described(&method, &path, response);
        }
        if received
            .as_ref()
            .map_or(true, |r| r.header("connection") == Some("close"))
        {
            self.hang_up();
        }
        received
    }

    /// Waits until an answer begins, and reads no further than the system does by itself.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn wait_for_bytes(&mut self) -> io::Result<()> {
        self.connect()?.fill_buf().map(drop)
    }

    /// Whether its connection was made and did not break, as far as it has noticed.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Closes the connection.
    pub fn hang_up(&mut self) {
        self.stream = None;
        self.sent.clear();
    }

    fn connect(&mut self) -> io::Result<&mut BufReader<Box<dyn Wire>>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.authority)?;
            stream.set_read_timeout(Some(self.patience))?;
            stream.set_nodelay(true)?;
            let wire: Box<dyn Wire> = match &self.tls {
                None => Box::new(stream),
                Some(tls) => Box::new(StreamOwned::new(
                    certificates::knock(tls, &self.authority),
                    stream,
                )),
            };
            self.stream = Some(BufReader::new(wire));
        }
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut out = format!(
            "{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n",
            body.len()
        );
        let mut add = |name: &str, value: &str| {
            out.push_str(&format!("{name}: {value}\r\n"));
        };
        if !headers.iter().any(|(name, _)| *name == "host") {
            add("host", &self.authority);
        }
        for (name, value) in headers {
            add(name, value);
        }
        match &self.credential {
            Credential::None => (),
            Credential::Token(token) => add("authorization", &format!("Bearer {token}")),
            Credential::Key(key) => {
                for (name, value) in sign(key, &self.authority, method, path, headers, body) {
                    add(name, &value);
                }
            }
        }
        out.push_str("\r\n");
        out
    }
}

/// The headers that make a request a signed one.
///
/// # Panics
/// If the request cannot be signed.
#[must_use]
pub fn sign(
    key: &SigningKey,
    authority: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> [(&'static str, String); 3] {
    let fields: Vec<Header<'_>> = headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let request = HttpRequest {
        method,
        scheme: Scheme::Http,
        authority,
        path,
        query,
        headers: &fields,
        body,
    };
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    let parameters = SigningParameters {
        key_id: &PublicKey(key.verifying_key().to_bytes()).id().to_string(),
        // A gateway refuses signatures of the second in which it opened; this lead is within the window.
        created: UnixSeconds(since.as_secs() + 1),
        expires: None,
        nonce: &crate::unique("nonce"),
    };
    let signed = sign_request(&request, &parameters, |m| key.sign(m).to_bytes()).expect("signable");
    [
        ("content-digest", signed.content_digest),
        ("signature-input", signed.signature_input),
        ("signature", signed.signature),
    ]
}

fn read_response(stream: &mut BufReader<Box<dyn Wire>>) -> io::Result<Response> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    let mut next = |stream: &mut BufReader<Box<dyn Wire>>| -> io::Result<String> {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    };
    let first = next(stream)?;
    let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| broken("no status"))?;
    let mut headers = Vec::new();
    loop {
        let text = next(stream)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text
            .split_once(':')
            .ok_or_else(|| broken("no header field"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let find = |wanted: &str| {
        headers
            .iter()
            .find(|(n, _)| n == wanted)
            .map(|(_, v)| v.clone())
    };
    let mut body = Vec::new();
    if find("transfer-encoding").as_deref() == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&next(stream)?, 16).map_err(|_| broken("no chunk"))?;
            let mut chunk = vec![0; size];
            stream.read_exact(&mut chunk)?;
            body.append(&mut chunk);
            next(stream)?;
            if size == 0 {
                break;
            }
        }
    } else {
        let length = find("content-length")
            .and_then(|l| l.parse().ok())
            .unwrap_or(0);
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
    }
    Ok(Response {
        status,
        headers,
        body,
    })
}
