//! What stands behind the gateway and what stands beside it: an MCP server in memory, and a
//! bare JSON reverse proxy of the gateway's own stack (axum, hyper). Each runs in a process of
//! its own: the benchmark starts itself again with a role.

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Name of the one tool.
pub const TOOL: &str = "read_query";

/// What the server says about its tool.
pub const DESCRIPTOR: &str = r#"{"name":"read_query","description":"Look up one customer","inputSchema":{"type":"object","properties":{"query":{"type":"string"}},"required":["query"],"additionalProperties":false}}"#;

/// Runs the role that the arguments name, if they name one; then the benchmark itself is not wanted.
///
/// # Errors
/// If the role cannot be played.
pub fn play_role() -> Result<bool> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("role:upstream") => block_on(serve_upstream())?,
        Some("role:proxy") => {
            block_on(serve_proxy(arguments.next().context("proxy for what?")?))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn block_on(server: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(server)
}

async fn serve(router: Router) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ready http://{}/mcp", listener.local_addr()?);
    // As the gateway: small answers leave at once.
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        drop(stream.set_nodelay(true));
    });
    Ok(axum::serve(listener, router).await?)
}

/// An answer of about 2 KiB.
fn answer_text() -> String {
    let row =
        "{'id': 17, 'email': 'ada@example.com', 'name': 'Ada', 'city': 'Bern', 'plan': 'basic'}, ";
    let text = row.repeat(1900 / row.len());
    format!(
        "{{\"content\":[{{\"type\":\"text\",\"text\":\"[{text}]\"}}],\"isError\":false,\"resultType\":\"complete\"}}"
    )
}

async fn serve_upstream() -> Result<()> {
    let answer: Arc<str> = answer_text().into();
    let router = Router::new()
        .route("/mcp", post(message))
        .with_state(answer);
    serve(router).await
}

#[derive(serde::Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
}

async fn message(State(answer): State<Arc<str>>, body: Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Message<'_>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(id) = message.id else {
        return StatusCode::ACCEPTED.into_response();
    };
    let result: &str = match message.method {
        "server/discover" => {
            r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}"#
        }
        "tools/list" => &format!(
            r#"{{"resultType":"complete","tools":[{DESCRIPTOR}],"ttlMs":0,"cacheScope":"private"}}"#
        ),
        _ => &answer,
    };
    json(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}").into())
}

fn json(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

struct Proxy {
    client: Client<HttpConnector, Full<Bytes>>,
    to: http::Uri,
}

async fn serve_proxy(to: String) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let proxy = Arc::new(Proxy {
        client,
        to: to.parse()?,
    });
    serve(Router::new().route("/mcp", post(forward)).with_state(proxy)).await
}

/// Reads the message as JSON, sends its bytes on, and gives the answer back.
async fn forward(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let failed = |status: StatusCode| status.into_response();
    let Ok(body) = request.into_body().collect().await.map(|b| b.to_bytes()) else {
        return failed(StatusCode::BAD_REQUEST);
    };
    let parsed: serde_json::Result<serde_json::Value> = serde_json::from_slice(&body);
    if parsed.is_ok_and(|m| m.get("method").is_none()) {
        return failed(StatusCode::BAD_REQUEST);
    }
    let mut onward = http::Request::new(Full::new(body));
    *onward.method_mut() = http::Method::POST;
    *onward.uri_mut() = proxy.to.clone();
    onward.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let Ok(answer) = proxy.client.request(onward).await else {
        return failed(StatusCode::BAD_GATEWAY);
    };
    match answer.into_body().collect().await {
        Ok(body) => json(body.to_bytes()),
        Err(_) => failed(StatusCode::BAD_GATEWAY),
    }
}
