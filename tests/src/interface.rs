//! The HTTP interface as `openapi.json` describes it: every answer that a test's client gets is held against it.
//!
//! In: a request's method and path, and its answer. Out: nothing, or a panic that says what the description lacks.

use crate::client::Response;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../enclave/src/doors/openapi.json");
    serde_json::from_str(text).expect("the description is JSON")
});

/// Compiled schemas, by where they stand.
static SCHEMAS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Holds an answer against the description: its status has to be there, and its media type and body where that status
/// has a body.
///
/// # Panics
/// If it does not fit.
pub fn expect_described(method: &str, target: &str, response: &Response) {
    let path = target.split('?').next().unwrap_or(target);
    let Some((template, operations)) = described(path) else {
        return;
    };
    let Some(operation) = operations.get(method.to_ascii_lowercase()) else {
        assert!(
            matches!(response.status, 403 | 405 | 413),
            "{method} {path}: {response:?}"
        );
        return;
    };
    let status = response.status.to_string();
    let told = || {
        let body = String::from_utf8_lossy(&response.body);
        format!("{method} {template} answered {status}: {body}")
    };
    let described = &operation["responses"][&status];
    assert!(described.is_object(), "not described: {}", told());
    let Some(content) = described["content"].as_object() else {
        return;
    };
    // What is refused before a door is reached, such as a foreign `Host`, has no body.
    if response.body.is_empty() && response.status != 200 {
        return;
    }
    let media = response.header("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let schema = content.get(media).map(|of_media| &of_media["schema"]);
    let schema = schema.unwrap_or_else(|| panic!("not as {media:?}: {}", told()));
    if media == "application/json" {
        let schema = compiled(&format!("{method} {template} {status}"), schema);
        if let Err(error) = schema.validate(&response.json()) {
            panic!("{error}, at {}: {}", error.instance_path(), told());
        }
    }
}

/// Path and operations of the description that a request's path belongs to.
fn described(path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = DESCRIPTION["paths"].as_object().expect("it has paths");
    let fits = |template: &str| {
        let parts = || template.split('/').zip(path.split('/'));
        let same = template.split('/').count() == path.split('/').count();
        same && parts().all(|(t, p)| t == p || (t.starts_with('{') && !p.is_empty()))
    };
    let exact = paths.get_key_value(path);
    exact
        .or_else(|| paths.iter().find(|(template, _)| fits(template)))
        .map(|(template, operations)| (template.as_str(), operations))
}

/// A schema, with what it refers to beside it.
fn compiled(name: &str, schema: &Value) -> Arc<Validator> {
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = schemas.entry(name.to_owned()).or_insert_with(|| {
        let whole = json!({ "allOf": [schema], "components": DESCRIPTION["components"] });
        let validator = jsonschema::draft202012::new(&whole);
        Arc::new(validator.unwrap_or_else(|e| panic!("{name}: {e}")))
    });
    Arc::clone(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, media: &str, body: &str) -> Response {
        Response {
            status,
            headers: vec![("content-type".to_owned(), media.to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn an_answer_that_fits_is_taken() {
        let waiting = response(200, "application/json", r#"{"bundle":{},"tools":[]}"#);
        expect_described("GET", "/v1/tools?tool=a", &waiting);
        expect_described("GET", "/nowhere", &response(500, "", ""));
        expect_described(
            "GET",
            "/approvals/07",
            &response(404, "text/html; charset=utf-8", "x"),
        );
    }

    #[test]
    #[should_panic(expected = "not described")]
    fn a_status_that_is_not_described_is_not_taken() {
        expect_described("GET", "/healthz", &response(418, "application/json", "{}"));
    }

    #[test]
    #[should_panic(expected = "not as \"text/plain\"")]
    fn a_media_type_that_is_not_described_is_not_taken() {
        expect_described("GET", "/v1/tools", &response(200, "text/plain", "{}"));
    }

    #[test]
    #[should_panic(expected = "is not of type")]
    fn a_body_that_is_not_as_described_is_not_taken() {
        expect_described("GET", "/v1/tools", &response(200, "application/json", "[]"));
    }
}
