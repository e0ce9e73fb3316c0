//! The way in: HTTP/1.1 without TLS.
//!
//! | path | what |
//! |---|---|
//! | `POST /add-checkpoint` | a larger checkpoint of a known log, to be cosigned (C2SP tlog-witness) |
//! | `GET /<SHA-256 of the origin, hexadecimal>/checkpoint` | the last one that was cosigned, for anyone |
//!
//! Nobody has to prove who they are: a checkpoint proves itself, and so does a cosignature. What
//! has no signature, such as the size in a refusal, is a hint; whoever must rely on it asks for a
//! cosignature. Put TLS in front where the path is not to be seen or cut.

use crate::config::Config;
use crate::protocol::{MAX_REQUEST_BYTES, Refusal, Signed, Submission, judge};
use crate::store::{Kept, Store, StoreError, directory_name};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use countersign_record::digest::Signature;
use countersign_record::note::UnixSeconds;
use ed25519_dalek::Signer as _;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Media type of the size in a refusal. Source: C2SP tlog-witness, "add-checkpoint".
const SIZE_KIND: &str = "text/x.tlog.size";

/// Gives the time.
pub type Clock = Box<dyn Fn() -> UnixSeconds + Send + Sync>;

/// What is known of a log while the witness runs.
#[derive(Debug)]
enum Standing {
    /// The last checkpoint that was signed, if any was.
    Known(Option<Kept>),
    /// It could not be kept, so it is not known which one is on disk. Nothing is signed until a restart reads it.
    Unknown,
}

/// A running witness.
pub struct Witness {
    config: Config,
    store: Store,
    clock: Clock,
    standing: BTreeMap<String, Mutex<Standing>>,
}

/// Why a request got no cosignature.
#[derive(Debug)]
enum Failed {
    Refused(Refusal),
    Store(StoreError),
    Unknown,
}

impl Witness {
    /// Reads what was signed last.
    ///
    /// # Errors
    /// If a file is there and cannot be read.
    pub fn new(config: Config, store: Store, clock: Clock) -> Result<Self, StoreError> {
        let standing = config
            .logs
            .keys()
            .map(|origin| {
                let last = store.last(origin)?;
                Ok((origin.clone(), Mutex::new(Standing::Known(last))))
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Self {
            config,
            store,
            clock,
            standing,
        })
    }

    /// Judges, keeps, signs. One request of a log at a time: the old size is compared and replaced as one step.
    fn add(&self, body: &[u8]) -> Result<String, Failed> {
        let submission = Submission::parse(body).map_err(Failed::Refused)?;
        let origin = submission.origin().to_owned();
        let (Some(log), Some(standing)) =
            (self.config.logs.get(&origin), self.standing.get(&origin))
        else {
            return Err(Failed::Refused(Refusal::UnknownLog(origin)));
        };
        // A panic while it was held would leave the standing as it was before.
        let mut standing = standing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &*standing {
            Standing::Known(kept) => kept.as_ref().map(|k| k.head),
            Standing::Unknown => return Err(Failed::Unknown),
        };
        let checkpoint = submission.checkpoint().to_owned();
        let accepted = match judge(submission, Some(log), known) {
            Ok(accepted) => accepted,
            Err(refusal @ Refusal::OtherHistory { .. }) => {
                // Both checkpoints are signed by the log; whoever runs this witness has the proof.
                self.store
                    .keep_conflict(&origin, &checkpoint)
                    .map_err(Failed::Store)?;
                return Err(Failed::Refused(refusal));
            }
            Err(refusal) => return Err(Failed::Refused(refusal)),
        };
        let Config { witness, key, .. } = &self.config;
        let signed = accepted.cosign(witness, (self.clock)(), |message| {
            Signature(key.sign(message).to_bytes())
        });
        // ORDER: durable before the signature leaves.
        if let Err(error) = self.store.keep(&origin, &signed) {
            *standing = Standing::Unknown;
            return Err(Failed::Store(error));
        }
        let Signed { head, note, line } = signed;
        *standing = Standing::Known(Some(Kept { head, note }));
        Ok(line)
    }

    /// The last checkpoint of the log with this name of a directory.
    fn last(&self, name: &str) -> Option<String> {
        let (_, standing) = self
            .standing
            .iter()
            .find(|(origin, _)| directory_name(origin) == name)?;
        match &*standing.lock().unwrap_or_else(PoisonError::into_inner) {
            Standing::Known(kept) => kept.as_ref().map(|k| k.note.clone()),
            Standing::Unknown => None,
        }
    }
}

/// All routes.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{log}/checkpoint", get(last_checkpoint))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, request: Request) -> Response {
    let Ok(body) = to_bytes(request.into_body(), MAX_REQUEST_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let added = tokio::task::spawn_blocking(move || witness.add(&body)).await;
    match added {
        Ok(Ok(line)) => text(StatusCode::OK, "text/plain; charset=utf-8", line),
        Ok(Err(Failed::Refused(refusal))) => refused(&refusal),
        Ok(Err(Failed::Store(error))) => {
            // Whoever reads this may be gone, and the witness goes on.
            let _unread = writeln!(std::io::stderr(), "countersign-witness: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Ok(Err(Failed::Unknown)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match refusal {
        Refusal::OldSize { known } | Refusal::OtherHistory { known } => {
            text(status, SIZE_KIND, format!("{known}\n"))
        }
        Refusal::Malformed(_) | Refusal::UnknownLog(_) | Refusal::NotSigned | Refusal::Proof(_) => {
            text(status, "text/plain; charset=utf-8", format!("{refusal}\n"))
        }
    }
}

async fn last_checkpoint(State(witness): State<Arc<Witness>>, Path(log): Path<String>) -> Response {
    match witness.last(&log) {
        Some(note) => text(StatusCode::OK, "text/plain; charset=utf-8", note),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
