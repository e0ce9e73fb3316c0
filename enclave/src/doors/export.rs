//! `GET /v1/export`: the log, or a tenant's, a run's or a period's part of it, for people who may have it.
//!
//! In: a signed request of a person of group `exporter`, and which part is meant, of this log or of one that the gateway continues. Out: the file, as
//! a stream. A person gets the records of their own tenants: the whole log only if all tenants are
//! theirs; and values under the profiles that are theirs. Works while the gateway is held, too.

use super::Taken;
use super::log::refused;
use super::opening::{Asked, Whence, opening};
use crate::export::{self, ExportFault, Plan, Selection, Source};
use crate::serve::{EXPORTERS, Gateway};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use countersign_gateway::refusal::{Code, Refusal};
use countersign_policies::site::people::Approver;
use countersign_policies::site::settings::Tenant;
use countersign_record::digest::{GatewayId, RunId, TenantId, UnixMillis};
use countersign_record::export::Period;
use countersign_record::time;
use std::sync::Arc;
use thiserror::Error;

/// Why a query does not say which part of the log is meant.
#[derive(Debug, PartialEq, Eq, Error)]
enum QueryError {
    /// A parameter that there is not.
    #[error("parameter {0} is not known")]
    Unknown(String),
    /// A parameter that stands twice.
    #[error("parameter {0} stands twice")]
    Repeated(&'static str),
    /// Not a gateway.
    #[error("gateway must be 64 hexadecimal digits")]
    Gateway,
    /// Not a run.
    #[error("run must be 32 hexadecimal digits")]
    Run,
    /// Not a time.
    #[error("{0} must be RFC 3339 or milliseconds since 1970")]
    Time(&'static str),
    /// A period that ends before it begins.
    #[error("from must be before until")]
    Order,
}

/// The part of the log that is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    gateway: Option<GatewayId>,
    tenant: Option<String>,
    run: Option<RunId>,
    from: Option<UnixMillis>,
    until: Option<UnixMillis>,
    profile: Option<String>,
    subject: Option<String>,
}

impl Query {
    fn parse(query: &str) -> Result<Self, QueryError> {
        let mut out = Self::default();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match name {
                "gateway" => {
                    let gateway = GatewayId::from_hex(&value).ok_or(QueryError::Gateway)?;
                    once(&mut out.gateway, gateway, "gateway")?;
                }
                "tenant" => once(&mut out.tenant, value, "tenant")?,
                "run" => {
                    let run = RunId::from_hex(&value).ok_or(QueryError::Run)?;
                    once(&mut out.run, run, "run")?;
                }
                "from" => once(&mut out.from, moment(&value, "from")?, "from")?,
                "until" => once(&mut out.until, moment(&value, "until")?, "until")?,
                "profile" => once(&mut out.profile, value, "profile")?,
                "subject" => once(&mut out.subject, value, "subject")?,
                other => return Err(QueryError::Unknown(other.to_owned())),
            }
        }
        if out.from.zip(out.until).is_some_and(|(f, u)| f >= u) {
            return Err(QueryError::Order);
        }
        Ok(out)
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            profile: self.profile.as_deref(),
            subject: self.subject.as_deref(),
        }
    }

    /// A period with one open end begins with the log, or ends with it.
    fn period(&self) -> Option<Period> {
        (self.from.is_some() || self.until.is_some()).then(|| Period {
            from: self.from.unwrap_or(UnixMillis(0)),
            until: self.until.unwrap_or(UnixMillis(u64::MAX)),
        })
    }
}

fn once<T>(slot: &mut Option<T>, value: T, name: &'static str) -> Result<(), QueryError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(QueryError::Repeated(name)),
    }
}

fn moment(text: &str, name: &'static str) -> Result<UnixMillis, QueryError> {
    time::parse(text).ok_or(QueryError::Time(name))
}

/// `%3A` as `:`; what is no escape stays as it is.
fn decoded(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [a, b, ..]) => {
                let digits = [*a, *b];
                std::str::from_utf8(&digits)
                    .ok()
                    .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|d| u8::from_str_radix(d, 16).ok())
            }
            _ => None,
        };
        match escaped {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `GET /v1/export`.
pub(super) async fn export(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    let who = match gateway.recognize(&taken, &gateway.people) {
        Ok(who) => who,
        Err(refusal) => return refused(&refusal),
    };
    let people = &gateway.engine.content().approvers;
    let Some(person) = people
        .get(&who.agent)
        .filter(|p| p.groups.iter().any(|g| g == EXPORTERS))
    else {
        return refused(&Refusal::never(Code::PolicyDenied));
    };
    let query = match Query::parse(taken.query.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let site = &gateway.engine.content().head.tenants;
    let Some(selection) = selection(site, &person.tenants, &query) else {
        return refused(&Refusal::never(Code::PolicyDenied));
    };
    let of = query.gateway;
    let whence = match of {
        Some(name) if name != gateway.id => Whence::HandedOver,
        Some(_) | None => Whence::Own,
    };
    let opening = match opening(&gateway, person, query.asked(), (whence, selection.tenant)) {
        Ok(opening) => opening,
        Err(error) => return error.response(),
    };
    let theirs = tenants_of(&gateway, person);
    let planning = Arc::clone(&gateway);
    let asked = selection.tenant;
    let planned = tokio::task::spawn_blocking(move || {
        Source::of(&planning, of).map(|source| Plan::make(source, selection, opening))
    })
    .await;
    let plan = match planned {
        Ok(Some(Ok(plan))) => plan,
        Ok(Some(Err(error))) => return unavailable(&error),
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(_) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    // A run of another tenant does not exist for this person, nor below the tenant that they named.
    let tenant = plan.selection().tenant;
    let elsewhere = asked.is_some() && asked != tenant;
    if !plan.found() || elsewhere || tenant.is_some_and(|t| !theirs.contains(&t)) {
        return StatusCode::NOT_FOUND.into_response();
    }
    stream(gateway, of, plan)
}

/// What a person with these tenants may have of what was asked for, of a site with those.
fn selection(site: &[Tenant], theirs: &[String], query: &Query) -> Option<Selection> {
    let is_theirs = |name: &String| theirs.contains(name);
    let tenant = match &query.tenant {
        Some(name) => Some(site.iter().find(|t| t.name == *name && is_theirs(name))?.id),
        None if query.run.is_some() => None,
        None if site.iter().all(|t| is_theirs(&t.name)) => None,
        None => return None,
    };
    Some(Selection {
        tenant,
        run: query.run,
        period: query.period(),
    })
}

fn tenants_of(gateway: &Gateway, person: &Approver) -> Vec<TenantId> {
    let tenants = gateway.engine.content().head.tenants.iter();
    tenants
        .filter(|t| person.tenants.contains(&t.name))
        .map(|t| t.id)
        .collect()
}

fn unavailable(error: &ExportFault) -> Response {
    crate::boot::tracing_line(&format!("no export: {error}"));
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn stream(gateway: Arc<Gateway>, of: Option<GatewayId>, plan: Plan) -> Response {
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(16);
    tokio::task::spawn_blocking(move || {
        let mut sink = |bytes: Vec<u8>| {
            tx.blocking_send(Ok(bytes.into()))
                .map_err(|_| ExportFault::Gone)
        };
        let written = match Source::of(&gateway, of) {
            Some(source) => export::write(source, &plan, &mut sink),
            None => Err(ExportFault::Gone),
        };
        if let Err(error) = written {
            crate::boot::tracing_line(&format!("export broke off: {error}"));
            // The stream ends with an error, so that a cut export is never taken for a whole one.
            let _gone = tx.blocking_send(Err(std::io::Error::other("export broke off")));
        }
    });
    let mut response = Response::new(Body::from_stream(Receiving(rx)));
    let kind = HeaderValue::from_static("application/countersign.export+cbor-seq");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

struct Receiving(tokio::sync::mpsc::Receiver<Result<bytes::Bytes, std::io::Error>>);

impl futures_core::Stream for Receiving {
    type Item = Result<bytes::Bytes, std::io::Error>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_tenant_run_and_period() {
        let query = "tenant=north&run=01010101010101010101010101010101&from=2026-03-04T05%3A06:07Z&until=1772600768000";
        let parsed = Query::parse(query).unwrap();
        assert_eq!(parsed.tenant.as_deref(), Some("north"));
        assert_eq!(parsed.run, Some(RunId([1; 16])));
        assert_eq!(parsed.from, Some(UnixMillis(1_772_600_767_000)));
        assert_eq!(parsed.until, Some(UnixMillis(1_772_600_768_000)));
    }

    #[test]
    fn a_query_names_profile_and_subject() {
        let parsed = Query::parse("profile=data-subject&subject=agent%3Ademo/a%401").unwrap();
        let expected = Asked {
            profile: Some("data-subject"),
            subject: Some("agent:demo/a@1"),
        };
        assert_eq!(parsed.asked(), expected);
        let twice = Query::parse("profile=nothing&profile=everything").unwrap_err();
        assert_eq!(twice, QueryError::Repeated("profile"));
    }

    #[test]
    fn a_misspelt_limit_is_refused_and_not_left_out() {
        let error = Query::parse("tennant=north").unwrap_err();
        assert_eq!(error, QueryError::Unknown("tennant".to_owned()));
    }

    #[test]
    fn a_gateway_is_named_by_64_digits() {
        let query = format!("gateway={}", "ab".repeat(32));
        let parsed = Query::parse(&query).unwrap();
        assert_eq!(parsed.gateway, Some(GatewayId([0xab; 32])));
        let error = Query::parse("gateway=ab").unwrap_err();
        assert_eq!(error, QueryError::Gateway);
    }

    #[test]
    fn a_limit_that_stands_twice_is_refused() {
        let error = Query::parse("tenant=a&tenant=b").unwrap_err();
        assert_eq!(error, QueryError::Repeated("tenant"));
    }

    #[test]
    fn a_period_that_ends_before_it_begins_is_refused() {
        assert_eq!(
            Query::parse("from=2&until=2").unwrap_err(),
            QueryError::Order
        );
    }

    #[test]
    fn a_period_with_one_end_goes_to_the_end_of_the_log() {
        let period = Query::parse("from=5").unwrap().period().unwrap();
        assert_eq!((period.from.0, period.until.0), (5, u64::MAX));
    }

    fn site() -> Vec<Tenant> {
        ["north", "south"]
            .into_iter()
            .zip(1..)
            .map(|(name, n)| Tenant {
                id: TenantId([n; 16]),
                name: name.to_owned(),
            })
            .collect()
    }

    fn allowed(theirs: &[&str], query: &str) -> Option<Selection> {
        let theirs: Vec<String> = theirs.iter().map(|t| (*t).to_owned()).collect();
        selection(&site(), &theirs, &Query::parse(query).unwrap())
    }

    #[test]
    fn the_whole_log_is_for_those_to_whom_all_tenants_are_theirs() {
        assert!(allowed(&["north", "south"], "").is_some());
        assert_eq!(allowed(&["north"], ""), None);
        assert_eq!(allowed(&["north"], "from=1"), None);
    }

    #[test]
    fn a_tenant_is_for_its_own_people() {
        let selection = allowed(&["north"], "tenant=north").unwrap();
        assert_eq!(selection.tenant, Some(TenantId([1; 16])));
        assert_eq!(allowed(&["north"], "tenant=south"), None);
        assert_eq!(allowed(&["north"], "tenant=west"), None);
    }
}
