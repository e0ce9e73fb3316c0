//! One question to somebody else's service over HTTP, on TLS or in the clear, and its bounded answer.
//!
//! In: an address, what to ask, how much and how long. Out: status, header fields and body, or why there is none. Who asks
//! has to verify what comes: the wire is anybody's. Redirects are not followed: a service that has moved is named anew by
//! a person.

use crate::transport::reach::Target;
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::time::Duration;

/// Longest header of an answer that is read, in bytes (128 KiB): Intel's service puts chains of certificates there.
const MAX_HEADER_BYTES: usize = 128 * 1024;

/// What is asked of whom.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Scheme and authority, such as `https://service.example`.
    pub service: &'a str,
    /// For `https`, certificates that the service's must lead to.
    pub ca: Option<&'a Path>,
    /// How.
    pub method: Method,
    /// Path and query, from the first slash.
    pub path: &'a str,
    /// Header fields beside those that every request has.
    pub headers: &'a [(&'static str, &'static str)],
    /// Body.
    pub body: Vec<u8>,
    /// Longest body of an answer, in bytes.
    pub limit: usize,
    /// Longest wait for all of it.
    pub wait: Duration,
}

/// What came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status: no redirect.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// Asks.
///
/// # Errors
/// If nobody answers in time, too much comes, or the service has moved.
pub async fn ask(question: &Question<'_>) -> anyhow::Result<Answer> {
    let service = question.service;
    tokio::time::timeout(question.wait, exchange(question))
        .await
        .map_err(|_| {
            let seconds = question.wait.as_secs();
            anyhow::anyhow!("{service} does not answer within {seconds} seconds")
        })?
        .with_context(|| format!("{service}{}", question.path))
}

async fn exchange(question: &Question<'_>) -> anyhow::Result<Answer> {
    let Question {
        service,
        ca,
        method,
        path,
        headers,
        body,
        limit,
        wait: _,
    } = question;
    // A file of certificates is for services over TLS; one in the clear has none to compare.
    let ca = ca.filter(|_| service.starts_with("https://"));
    let target = Target::parse(service, ca)?;
    let mut request = Request::builder()
        .method(method.clone())
        .uri(*path)
        .header(http::header::HOST, target.authority())
        .header(http::header::CONNECTION, "close");
    for (name, value) in *headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.clone())))?;
    let wire = target.connect().await?.wire;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .handshake(TokioIo::new(wire))
        .await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    if head.status.is_redirection() {
        bail!(
            "it has moved ({}): redirects are not followed; name where it is now",
            head.status
        );
    }
    let body = Limited::new(body, *limit).collect().await;
    let body = body
        .map_err(|_| anyhow::anyhow!("its answer breaks off, or is longer than {limit} bytes"))?;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
    })
}

impl Answer {
    /// The body of an answer that is one.
    ///
    /// # Errors
    /// If the status is another than 200.
    pub fn good(&self, service: &str) -> anyhow::Result<&[u8]> {
        ensure!(
            self.status == StatusCode::OK,
            "{service} answers {}",
            self.status
        );
        Ok(&self.body)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A service in the clear that gives one answer after another, each to one connection, and then is gone. It gives back the
    /// requests that it got.
    pub(crate) struct Service {
        pub(crate) url: String,
        requests: JoinHandle<Vec<String>>,
    }

    impl Service {
        pub(crate) fn giving(answers: Vec<Vec<u8>>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let requests = std::thread::spawn(move || {
                let mut requests = Vec::new();
                for answer in answers {
                    let (mut stream, _) = listener.accept().unwrap();
                    requests.push(request(&mut stream));
                    // Whoever has read enough goes, and nobody hears the rest.
                    let _gone = stream.write_all(&answer);
                }
                requests
            });
            Self { url, requests }
        }

        pub(crate) fn requests(self) -> Vec<String> {
            self.requests.join().unwrap()
        }
    }

    fn request(stream: &mut std::net::TcpStream) -> String {
        let mut got = Vec::new();
        let mut some = [0; 4096];
        loop {
            let count = stream.read(&mut some).unwrap();
            got.extend(&some[..count]);
            let text = String::from_utf8_lossy(&got).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                assert_ne!(count, 0, "{text}");
                continue;
            };
            let wanted = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_owned)
            });
            let wanted: usize = wanted.map_or(0, |w| w.parse().unwrap());
            if body.len() >= wanted {
                return text;
            }
        }
    }

    /// An answer of HTTP.
    pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    }

    fn asked(service: &str, limit: usize) -> anyhow::Result<Answer> {
        let question = Question {
            service,
            ca: None,
            method: Method::GET,
            path: "/a?b=c",
            headers: &[("metadata", "true")],
            body: Vec::new(),
            limit,
            wait: Duration::from_secs(30),
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(ask(&question))
    }

    #[test]
    fn an_answer_comes_whole() {
        let service = Service::giving(vec![answer("200 OK", "chain: x\r\n", b"body")]);
        let got = asked(&service.url, 4).unwrap();
        assert_eq!(got.good("it").unwrap(), b"body");
        assert_eq!(got.headers["chain"], "x");
        let requests = service.requests();
        assert!(
            requests[0].starts_with("GET /a?b=c HTTP/1.1\r\n"),
            "{requests:?}"
        );
        assert!(requests[0].contains("metadata: true\r\n"), "{requests:?}");
    }

    #[test]
    fn too_much_a_move_and_nothing_are_refused() {
        let refused = |answers: Vec<Vec<u8>>| {
            let service = Service::giving(answers);
            format!("{:#}", asked(&service.url, 4).unwrap_err())
        };
        let long = refused(vec![answer("200 OK", "", b"bodie")]);
        assert!(long.contains("longer than 4 bytes"), "{long}");
        let short = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbod".to_vec();
        assert!(refused(vec![short]).contains("breaks off"));
        let moved = refused(vec![answer(
            "302 Found",
            "location: http://127.0.0.1:1/\r\n",
            b"",
        )]);
        assert!(moved.contains("redirects are not followed"), "{moved}");
        assert!(!refused(vec![Vec::new()]).is_empty());
        let nobody = asked("http://127.0.0.1:1", 4).unwrap_err();
        assert!(format!("{nobody:#}").contains("127.0.0.1:1"), "{nobody:#}");
        let busy = Service::giving(vec![answer("429 Too Many Requests", "", b"")]);
        let busy = asked(&busy.url, 4).unwrap().good("it").unwrap_err();
        assert!(busy.to_string().contains("429"), "{busy}");
    }

    #[test]
    fn a_service_over_tls_needs_to_be_told_whom_to_believe() {
        let told = asked("https://127.0.0.1:1", 4).unwrap_err();
        assert!(format!("{told:#}").contains("--ca"), "{told:#}");
    }
}
