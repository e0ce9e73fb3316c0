//! The ways in: HTTP/1.1 on one socket.
//!
//! | path | who | what |
//! |---|---|---|
//! | `POST /v1/calls` | agents | one call |
//! | `/mcp/<adapter>`, `/mcp` | agents | MCP Streamable HTTP, both eras: of one adapter, of all |
//! | `/key/mcp/<adapter>`, `/key/mcp` | agents | the same, for clients with a header that are to find no OAuth |
//! | `GET /.well-known/oauth-protected-resource/…` | anyone | where a door's tokens come from |
//! | `GET /v1/records/<digest>` | agents, people | an entry with its proof |
//! | `GET, POST /v1/approvals` | people | what waits, and their word on it |
//! | `GET /v1/export?profile=&subject=&tenant=&run=&from=&until=` | people of group `exporter` | the log, or a part of it |
//! | `POST /v1/subjects`, `POST /v1/erasures` | people of group `privacy` | what is forgotten |
//! | `GET, POST /v1/holds` | people of group `legal` | what must be kept |
//! | `GET, POST /v1/stops` | people of group `stop` | calls that are stopped |
//! | `GET /v1/tools?capability=` | people of group `operator` | whether tools are those that were registered |
//! | `GET /metrics` | people of group `operator` | numbers, for Prometheus |
//! | `GET /approvals/<action>` | anyone who was given the address | how a halted call stands |
//! | `GET /attestation?nonce=` | anyone | fresh evidence |
//! | `GET /attestation/connection?nonce=` | anyone, over TLS | that the connection ends here |
//! | `GET /healthz`, `/readyz`, `/openapi.json` | anyone | |
//!
//! Only the method and path route a request here; whatever else it claims is judged by the
//! stages. `Host` must be one of this socket's names (loopback's, or over TLS one of the certificate),
//! so that a page in a browser cannot reach the gateway by rebinding a name.

mod approvals;
mod attended;
mod calls;
mod export;
mod log;
mod mcp;
mod metrics;
mod opening;
mod people;
mod privacy;
mod resource;
mod stops;
mod tools;

use crate::serve::Gateway;
use crate::transport::Transport;
use crate::transport::connection::{Connection, Session};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use countersign_gateway::call::{Seed, Who};
use countersign_gateway::identity::{Callers, Clock, Identified, Presented, Recognized, recognize};
use countersign_gateway::refusal::{Code, Refusal, Refused};
use countersign_gateway::request::{MAX_BODY_BYTES, Request as CallRequest};
use countersign_record::digest::SubjectId;
use countersign_signatures::http::{Header, HttpRequest};
use std::sync::Arc;

pub use calls::OPENAPI;
pub(crate) use log::is_serving;
pub(crate) use metrics::scrape;

/// The trace context of an HTTP request. SPEC: W3C Trace Context §3.2.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// All routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    doors_of_callers()
        .route_layer(from_fn_with_state(Arc::clone(&gateway), not_too_often))
        .merge(doors_in_need())
        .merge(doors_of_anyone())
        .layer(from_fn_with_state(
            Arc::clone(&gateway),
            resource::challenge,
        ))
        .layer(from_fn_with_state(Arc::clone(&gateway), only_our_names))
        .with_state(gateway)
}

/// Those at which a caller has to be known.
fn doors_of_callers() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/v1/calls", post(calls::call))
        .route(
            "/mcp",
            post(mcp::joint_message)
                .get(mcp::listen_joint)
                .delete(mcp::close_joint),
        )
        .route(
            "/mcp/{adapter}",
            post(mcp::message).get(mcp::listen).delete(mcp::close),
        )
        .route(
            "/key/mcp",
            post(mcp::joint_message)
                .get(mcp::listen_joint)
                .delete(mcp::close_joint),
        )
        .route(
            "/key/mcp/{adapter}",
            post(mcp::message).get(mcp::listen).delete(mcp::close),
        )
        .route("/v1/records/{digest}", get(log::record))
        .route("/v1/export", get(export::export))
        .route("/v1/subjects", post(privacy::look))
        .route("/v1/erasures", post(privacy::erase))
        .route("/v1/holds", get(privacy::holds).post(privacy::hold))
        .route("/v1/tools", get(tools::tools))
        .route("/metrics", get(metrics::metrics))
}

/// Those at which a person has to be known, and at which nobody waits: whoever stops calls does so when there is a flood.
fn doors_in_need() -> Router<Arc<Gateway>> {
    Router::new()
        .route(
            "/v1/approvals",
            get(approvals::waiting).post(approvals::give),
        )
        .route("/v1/stops", get(stops::list).post(stops::order))
}

fn doors_of_anyone() -> Router<Arc<Gateway>> {
    Router::new()
        .route(
            "/.well-known/oauth-protected-resource/mcp",
            get(resource::of_all),
        )
        .route(
            "/.well-known/oauth-protected-resource/mcp/{adapter}",
            get(resource::of_adapter),
        )
        .route(
            "/.well-known/oauth-protected-resource/v1/calls",
            get(resource::of_calls),
        )
        .route("/approvals/{action}", get(mcp::page))
        .route("/attestation", get(log::attestation))
        .route("/attestation/connection", get(log::connection))
        .route("/healthz", get(log::health))
        .route("/readyz", get(log::readiness))
        .route("/openapi.json", get(calls::openapi))
}

/// Answers an address without a look, from where nobody known keeps asking.
async fn not_too_often(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let by = request.extensions().get::<Connection>();
    if let Some(Err(seconds)) = by.map(|by| gateway.let_in(by)) {
        gateway.count_unknown();
        let told = format!(
            "too many requests of unknown callers from this address; again in {seconds} s\n"
        );
        let after = [(header::RETRY_AFTER, seconds.to_string())];
        return (StatusCode::TOO_MANY_REQUESTS, after, told).into_response();
    }
    next.run(request).await
}

/// Refuses requests under another name, and from pages of another origin.
async fn only_our_names(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = text(headers, &header::HOST).unwrap_or_default();
    let origin = text(headers, &header::ORIGIN);
    let foreign = origin.is_some_and(|o| o.strip_prefix(gateway.transport.prefix()) != Some(host));
    if !gateway.transport.is_ours(host) || foreign {
        return (
            StatusCode::FORBIDDEN,
            "this name or origin is not served here\n",
        )
            .into_response();
    }
    next.run(request).await
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// A request taken apart: what was presented, and the body.
struct Taken {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    body: Bytes,
    /// What it came by.
    connection: Connection,
}

impl Taken {
    /// Reads the whole body, within the limit.
    async fn from(request: Request) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        // Whoever serves requests without saying what they came by has no business here.
        let connection = parts
            .extensions
            .remove::<Connection>()
            .ok_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())?;
        let body = axum::body::to_bytes(body, MAX_BODY_BYTES)
            .await
            .map_err(|_| {
                (
                    StatusCode::PAYLOAD_TOO_LARGE,
                    Code::RequestTooLarge.sentence(),
                )
                    .into_response()
            })?;
        Ok(Self {
            method: parts.method.as_str().to_owned(),
            authority: text(&parts.headers, &header::HOST)
                .unwrap_or_default()
                .to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            body,
            connection,
        })
    }

    /// Runs `f` on the request as signatures see it, and on what its connection showed, with the transport that it came by.
    fn presented<T>(&self, by: &Transport, f: impl FnOnce(Presented<'_>) -> T) -> T {
        let headers: Vec<Header<'_>> = self
            .headers
            .iter()
            .map(|(name, value)| Header {
                name: name.as_str(),
                value: value.as_bytes(),
            })
            .collect();
        let session = self.connection.session();
        let shown = session.map_or(&[][..], Session::unjudged_certificates);
        let certificates: Vec<&[u8]> = shown.iter().map(AsRef::as_ref).collect();
        f(Presented {
            request: &HttpRequest {
                method: &self.method,
                scheme: by.scheme(),
                authority: &self.authority,
                path: &self.path,
                query: self.query.as_deref(),
                headers: &headers,
                body: &self.body,
            },
            certificates: &certificates,
        })
    }
}

impl Gateway {
    /// Who presents this, among `callers`.
    fn recognize(&self, taken: &Taken, callers: &Callers) -> Result<Who, Refusal> {
        self.recognized(taken, callers).map(Recognized::into_who)
    }

    /// The same, for whoever has a call to make for them.
    fn recognized(&self, taken: &Taken, callers: &Callers) -> Result<Recognized, Refusal> {
        let clock = self.signature_clock();
        let recognized = taken.presented(&self.transport, |p| {
            recognize(p, callers, &mut self.nonces(), clock)
        });
        match &recognized {
            Ok(_) => self.is_of_a_known_caller(&taken.connection),
            Err(_) => self.count_unknown(),
        }
        recognized
    }

    /// Stage 2 of a call. The key of a person who is new here is made on a thread that may wait for the disk.
    async fn identify(
        self: &Arc<Self>,
        request: CallRequest,
        taken: &Taken,
    ) -> Result<Identified, Box<Refused>> {
        let clock = self.signature_clock();
        let recognized = taken.presented(&self.transport, |p| {
            recognize(p, &self.callers, &mut self.nonces(), clock)
        });
        let recognized = match recognized {
            Ok(recognized) => recognized,
            Err(refusal) => return Err(request.refuse(refusal)),
        };
        self.is_of_a_known_caller(&taken.connection);
        self.known(request, recognized).await
    }

    /// The rest of stage 2 of a call whose caller was found out.
    async fn known(
        self: &Arc<Self>,
        request: CallRequest,
        recognized: Recognized,
    ) -> Result<Identified, Box<Refused>> {
        let who = recognized.who();
        let subject = match self.subjects.known(who.tenant, who.subject_name()) {
            Some(subject) => Some(subject),
            None => {
                let (gateway, who) = (Arc::clone(self), who.clone());
                let making = tokio::task::spawn_blocking(move || gateway.subject(&who));
                making.await.unwrap_or_default()
            }
        };
        request.of(recognized, subject)
    }

    /// The pseudonym of whom a caller's call is about; made, if there is none.
    fn subject(&self, who: &Who) -> Option<SubjectId> {
        let subject = self.subjects.of(who.tenant, who.subject_name());
        if let Err(error) = &subject {
            crate::boot::tracing_line(&format!("a subject's key cannot be had: {error:#}"));
        }
        subject.ok()
    }

    fn signature_clock(&self) -> Clock {
        let epoch_opened = self
            .serving
            .as_ref()
            .map_or(countersign_record::digest::UnixMillis(0), |s| s.opened_at);
        Clock {
            now: self.clock.now().at,
            epoch_opened,
        }
    }
}

/// The refusal that a response tells, for whoever adds headers to it.
#[derive(Debug, Clone)]
struct Refusing(Refusal);

/// Unpredictable bytes for one call.
fn seed() -> Result<Seed, Refusal> {
    crate::keys::random::<32>()
        .map(|bytes| Seed::fresh(*bytes))
        .map_err(|_| Refusal::never(Code::AuditUnavailable))
}

/// A JSON answer.
fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// The status of a refusal of the connection, not of the call.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other code is about the call, not the connection"
)]
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated
        | Code::SignatureInvalid
        | Code::SignatureStale
        | Code::TokenInvalid
        | Code::ProofInvalid
        | Code::CertificateInvalid => StatusCode::UNAUTHORIZED,
        Code::InsufficientScope => StatusCode::FORBIDDEN,
        Code::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::GatewayHeld | Code::AuditUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}
