//! A call that waits for people, told to a client that opens addresses for its user; and the page there.
//!
//! The page says how the action stands and how an approver gives their word. It shows nothing of the call
//! and takes nothing: whoever opens it is not known, and need not be the one who approves.

use crate::calls::{Outcome, Reply};
use crate::serve::Gateway;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use countersign_gateway::refusal::Code;
use countersign_record::digest::ActionDigest;
use std::sync::Arc;

/// Where a client can look how its call stands.
pub(super) struct Page {
    /// The address.
    pub(super) url: String,
    /// The action that waits.
    pub(super) action: ActionDigest,
    /// What its user is told.
    pub(super) sentence: String,
}

/// The page of a call that waits for people.
pub(super) fn told(base: &str, reply: &Reply) -> Option<Page> {
    let Outcome::Refused(told) = &reply.outcome else {
        return None;
    };
    let action = awaited(reply)?;
    Some(Page {
        url: format!("{base}/approvals/{action}"),
        action,
        sentence: told.message.clone(),
    })
}

/// The action about which people are asked, if a call waits for them.
pub(super) fn awaited(reply: &Reply) -> Option<ActionDigest> {
    let Outcome::Refused(told) = &reply.outcome else {
        return None;
    };
    let action = reply.audit.as_ref()?.action?;
    (told.code == Code::ApprovalRequired).then_some(action)
}

/// How a halted action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Waits(usize),
    Refused,
    Gone,
}

impl Standing {
    fn of(gateway: &Gateway, action: &ActionDigest) -> Self {
        match gateway.state().halted_action(action) {
            None => Self::Gone,
            Some(halted) if halted.refused => Self::Refused,
            Some(halted) => Self::Waits(halted.approvals.len()),
        }
    }

    fn sentence(self) -> String {
        match self {
            Self::Waits(0) => "It waits; nobody has given their word yet.".to_owned(),
            Self::Waits(1) => "One person has approved it. If one is enough, send the call again.".to_owned(),
            Self::Waits(n) => format!("{n} people have approved it. If that is enough, send the call again."),
            Self::Refused => "A person has refused it.".to_owned(),
            Self::Gone => "Nothing of this name waits here: it was carried out, or it was forgotten after a day.".to_owned(),
        }
    }
}

/// `GET /approvals/{action}`.
pub(in crate::doors) async fn page(
    State(gateway): State<Arc<Gateway>>,
    Path(action): Path<String>,
) -> Response {
    let mut digest = [0; 32];
    if hex::decode_to_slice(&action, &mut digest).is_err() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let action = ActionDigest(digest);
    let standing = Standing::of(&gateway, &action);
    let status = match standing {
        Standing::Gone => StatusCode::NOT_FOUND,
        Standing::Waits(_) | Standing::Refused => StatusCode::OK,
    };
    (status, heads(), html(&action, standing)).into_response()
}

/// The page loads nothing, runs nothing, and stands in no frame.
fn heads() -> HeaderMap {
    let mut heads = HeaderMap::new();
    let all = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("refresh"), "10"),
    ];
    for (name, value) in all {
        heads.insert(name, HeaderValue::from_static(value));
    }
    heads
}

fn html(action: &ActionDigest, standing: Standing) -> String {
    let sentence = standing.sentence();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>A call waits for people</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:40em;margin:4em auto;padding:0 1em}}code{{overflow-wrap:anywhere}}</style>\
         <h1>A call waits for people</h1><p>{sentence}</p>\
         <p>Action <code>{action}</code></p>\
         <p>An enrolled approver sees what it is, and gives their word, with <code>countersign approve</code>. \
         This page cannot approve anything and shows nothing of the call.</p></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_how_it_stands_and_has_no_place_for_words_of_others() {
        let page = html(&ActionDigest([7; 32]), Standing::Waits(0));
        assert!(page.contains(&"07".repeat(32)) && page.contains("nobody has given"));
        assert!(!page.contains("<script") && !page.contains("<form"));
    }
}
