//! Methods of the tasks extension: how a call stands that was not answered at once.
//!
//! In: the parameters of `tasks/get`, `tasks/update` or `tasks/cancel`. Out: an [`Asked`]. None of them
//! reaches an upstream: a task that a client knows is this gateway's own.
//!
//! Spec: extension `io.modelcontextprotocol/tasks`, revision 2026-07-28.

use super::{Declares, malformed, text};
use crate::refusal::Refusal;
use bytes::Bytes;
use countersign_json::{Document, Kind};

/// By what name the extension is declared, on either side.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Begins the name of each of its methods.
const PREFIX: &str = "tasks/";

/// Most answers in one message; a task or a call asks far less.
const MAX_ANSWERS: usize = 64;

/// What a client asks about a task.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The task, as the client names it.
    pub id: String,
    /// What about it.
    pub what: What,
    /// Whether the client says, in this very message, that it takes tasks.
    pub declares: Declares,
}

/// What is to be done about a task.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// Tell how it stands.
    Get,
    /// Take answers to its questions: objects, each under the name of its question.
    Update(Vec<(String, Bytes)>),
    /// End it.
    Cancel,
}

impl What {
    /// Its name in MCP.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get => "tasks/get",
            Self::Update(_) => "tasks/update",
            Self::Cancel => "tasks/cancel",
        }
    }
}

/// What is asked, if the method is one of the extension's. `tasks/list` and `tasks/result` of an earlier revision are none.
pub(super) fn asked(
    method: &str,
    (body, document): (&Bytes, &Document<'_>),
    declares: Declares,
) -> Result<Option<Asked>, Refusal> {
    let what = match method.strip_prefix(PREFIX) {
        Some("get") => What::Get,
        Some("update") => What::Update(answers(body, document)?),
        Some("cancel") => What::Cancel,
        Some(_) | None => return Ok(None),
    };
    let id = text(document.inner("params", "taskId")).ok_or_else(malformed)?;
    Ok(Some(Asked { id, what, declares }))
}

/// Answers that are no objects answer nothing, and are left out as those to unknown questions are.
pub(super) fn answers(
    body: &Bytes,
    document: &Document<'_>,
) -> Result<Vec<(String, Bytes)>, Refusal> {
    let all = document
        .inner("params", "inputResponses")
        .filter(|all| all.kind == Kind::Object)
        .ok_or_else(malformed)?;
    let bytes = body.slice(all.range);
    let limits = countersign_json::Limits::of_bytes(bytes.len());
    let inner = countersign_json::scan(&bytes, &limits).map_err(|_| malformed())?;
    let members = inner.members().filter(|(_, v)| v.kind == Kind::Object);
    let answers: Vec<_> = members
        .map(|(name, value)| (name.to_owned(), bytes.slice(value.range)))
        .collect();
    match answers.len() > MAX_ANSWERS {
        true => Err(malformed()),
        false => Ok(answers),
    }
}
