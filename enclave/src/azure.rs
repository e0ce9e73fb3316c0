//! Quotes of trust domains on Azure: the guest has its report in the paravisor's, and a service of the host makes the
//! quote of it.
//!
//! In: the report of the trust domain. Out: the quote, as the service gave it. It comes over plain HTTP from the host, so
//! from whomever: that it repeats this very report is looked at before an epoch rests on it
//! ([`crate::boot::platform`]), who signed it a verifier says.
//!
//! Source: Azure/azure-cvm-tooling, `az-tdx-vtpm`, `src/imds.rs` at 0.8.2. Never asked on a real machine so far.

use crate::fetch::{Question, ask};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_platform::processor::MAX_QUOTE_BYTES;
use countersign_platform::{NoQuote, Quotes};
use http::Method;
use serde::Deserialize;
use std::time::Duration;

/// The service: link-local, so that no other machine than the host is asked.
const SERVICE: &str = "http://169.254.169.254";

/// Longest wait for a quote.
const WAIT: Duration = Duration::from_secs(20);

/// Longest answer, in bytes: a quote of [`MAX_QUOTE_BYTES`] in base64 and what stands around it (128 KiB).
const MAX_ANSWER_BYTES: usize = 128 * 1024;

/// Header fields that the service asks for; the first keeps those out that a page or a proxy was talked into.
const HEADERS: [(&str, &str); 3] = [
    ("metadata", "true"),
    ("content-type", "application/json"),
    ("accept", "application/json"),
];

/// The host's service.
#[derive(Debug, Clone)]
pub struct HostQuotes {
    service: String,
    wait: Duration,
}

impl Default for HostQuotes {
    fn default() -> Self {
        Self {
            service: SERVICE.to_owned(),
            wait: WAIT,
        }
    }
}

#[derive(Deserialize)]
struct Given {
    quote: String,
}

impl HostQuotes {
    async fn ask(&self, td_report: &[u8]) -> anyhow::Result<Vec<u8>> {
        let report = URL_SAFE_NO_PAD.encode(td_report);
        let question = Question {
            service: &self.service,
            ca: None,
            method: Method::POST,
            path: "/acc/tdquote",
            headers: &HEADERS,
            body: serde_json::json!({ "report": report })
                .to_string()
                .into_bytes(),
            limit: MAX_ANSWER_BYTES,
            wait: self.wait,
        };
        let answer = ask(&question).await?;
        let given: Given = serde_json::from_slice(answer.good(&self.service)?)
            .context("its answer is no quote")?;
        let quote = URL_SAFE_NO_PAD.decode(given.quote.trim_end_matches('='));
        let quote = quote.map_err(|_| anyhow::anyhow!("its quote is not in base64"))?;
        anyhow::ensure!(
            !quote.is_empty() && quote.len() <= MAX_QUOTE_BYTES,
            "its quote has {} bytes, {MAX_QUOTE_BYTES} are the most",
            quote.len()
        );
        Ok(quote)
    }
}

impl Quotes for HostQuotes {
    fn quote(&self, td_report: &[u8]) -> Result<Vec<u8>, NoQuote> {
        // A thread of its own: whoever asks may be within a runtime, or not.
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(self.ask(td_report))
            });
            asking
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("asking ended")))
        });
        asked.map_err(|error| {
            NoQuote(format!(
                "{error:#}; the host's metadata service has to be reachable at {SERVICE} without a proxy, and limits how \
                 often it is asked: try again"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::tests::{Service, answer};

    fn asked(answers: Vec<Vec<u8>>) -> (Result<Vec<u8>, NoQuote>, Vec<String>) {
        let service = Service::giving(answers);
        let quotes = HostQuotes {
            service: service.url.clone(),
            wait: WAIT,
        };
        let quote = quotes.quote(&[0xfb; 1024]);
        (quote, service.requests())
    }

    #[test]
    fn the_host_is_asked_for_a_quote_of_this_report() {
        let body = format!("{{\"quote\":\"{}\"}}", URL_SAFE_NO_PAD.encode([0xff; 5000]));
        let (quote, requests) = asked(vec![answer("200 OK", "", body.as_bytes())]);
        assert_eq!(quote, Ok(vec![0xff; 5000]));
        let request = &requests[0];
        assert!(
            request.starts_with("POST /acc/tdquote HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("metadata: true\r\n"), "{request}");
        let report = URL_SAFE_NO_PAD.encode([0xfb; 1024]);
        assert!(
            request.ends_with(&format!("{{\"report\":\"{report}\"}}")),
            "{request}"
        );
    }

    #[test]
    fn whatever_else_comes_is_no_quote_and_the_operator_is_told() {
        let long = format!(
            "{{\"quote\":\"{}\"}}",
            URL_SAFE_NO_PAD.encode(vec![0; MAX_QUOTE_BYTES + 1])
        );
        for (status, body, why) in [
            ("200 OK", "{}", "no quote"),
            ("200 OK", "{\"quote\":\"%%\"}", "base64"),
            ("200 OK", "{\"quote\":\"\"}", "0 bytes"),
            ("200 OK", "", "no quote"),
            ("200 OK", long.as_str(), "65537 bytes"),
            ("404 Not Found", "", "404"),
            ("429 Too Many Requests", "", "429"),
            ("302 Found", "", "redirects"),
        ] {
            let (quote, _) = asked(vec![answer(status, "", body.as_bytes())]);
            let told = quote.unwrap_err().to_string();
            assert!(told.contains(why) && told.contains("try again"), "{told}");
        }
        let endless = vec![b' '; MAX_ANSWER_BYTES + 1];
        let (quote, _) = asked(vec![answer("200 OK", "", &endless)]);
        assert!(quote.unwrap_err().to_string().contains("longer than"));
    }

    #[test]
    fn a_host_that_says_nothing_is_not_waited_for_without_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let quotes = HostQuotes {
            service: format!("http://{}", listener.local_addr().unwrap()),
            wait: Duration::from_millis(1),
        };
        let told = quotes.quote(&[0; 1024]).unwrap_err().to_string();
        assert!(told.contains("does not answer within"), "{told}");
    }
}
