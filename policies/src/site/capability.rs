//! `capabilities/*.toml`: one tool action, and everything that holds for it before policy is asked.
//!
//! In: the text of the file and of the schema file that it names. Out: a [`Capability`] whose
//! schema, patterns and shapes are compiled; a call's arguments go through
//! [`Capability::constrain`] and come out as what policy is shown.

use crate::constraint::{
    Alphabet, ArgumentRules, ConstraintViolation, Destination, MustBe, Names, Own, Rule,
    WholePattern, bounded, together,
};
use crate::endpoint::EndpointList;
use crate::input::{Field, Input, InputType, Mismatch, Value};
use crate::problem::{Problem, Report, Source};
use crate::shape::Shape;
use crate::site::contract;
use crate::site::descriptor::Keys;
use crate::site::egress::endpoint_list;
use crate::site::method::{Ask, Method};
use crate::site::people::known_tenant;
use crate::site::refusals::contact;
use crate::site::text::{is_plain_name, plain_name, toml_file, word};
use countersign_json::descriptor::RawTool;
use countersign_record::body::{Classification, Mode};
use countersign_record::digest::ArtifactDigest;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

/// Highest assurance that a capability can demand: a signed request. No caller has more in this version.
const MAX_DEMANDED: u8 = 3;

/// A tool action that agents may be allowed.
#[derive(Debug)]
pub struct Capability {
    /// `<adapter>.<tool>`.
    pub id: String,
    /// Adapter that it belongs to.
    pub adapter: String,
    /// Name of the tool upstream; of what is no tool, the method's.
    pub tool: String,
    /// What of MCP it is.
    pub method: Method,
    /// What the server may ask the agent back while it carries out a call.
    pub asks: BTreeSet<Ask>,
    /// Whether its server may answer with a task first.
    pub tasks: Tasks,
    /// Approval mode; the highest that a call can run under.
    pub mode: Mode,
    /// What the agent is told of it.
    pub description: String,
    /// Digest of the upstream's descriptor; another descriptor is another tool.
    pub descriptor: ArtifactDigest,
    /// The descriptor that has this digest, where the site keeps it: what people who signed the bundle could read.
    pub pinned: Option<RawTool>,
    /// JSON Schema of the arguments, as agents are shown it.
    pub input_schema: Json,
    /// How sure a caller has to be known: no caller below this level calls or sees it.
    pub min_assurance: u8,
    /// Where its effects go, as declared.
    pub destinations: Vec<String>,
    /// What a call may reach: by addresses in its arguments, and through the gateway's proxy.
    pub endpoint_in: Arc<EndpointList>,
    /// How far its results may spread.
    pub classification: Classification,
    /// Whether values of its results are looked for in later arguments.
    pub trace_results: bool,
    /// Retention band.
    pub retention: String,
    /// Where its data may be.
    pub residency: String,
    /// Whether a call must carry a key against repetition.
    pub idempotency: Idempotency,
    /// How many calls one tenant has in a window.
    pub num_calls: Option<NumCalls>,
    /// Names of the tenants that have it.
    pub tenants: Vec<String>,
    /// Scopes that the token of the person for whom it acts must have.
    pub scopes: Vec<String>,
    /// Group whose members approve it, where it says so.
    pub approvers: Option<String>,
    /// Whom a refused caller is told to ask, where it is somebody else than the site's.
    pub contact: Option<String>,
    /// Whether a refused caller is told which rules fired.
    pub tell_rules: bool,
    /// Rules for results.
    pub redactions: Vec<Redaction>,
    /// Rules for arguments, by path.
    pub arguments: BTreeMap<String, ArgumentRules>,
    fields: BTreeMap<String, Field>,
    validator: jsonschema::Validator,
    /// The patterns of all redaction rules at once; absent if there are none, or they cannot be put together.
    touched: Option<Regex>,
}

/// Whether a server may answer a call with a task, whose result comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tasks {
    /// It may; the gateway follows the task within the call.
    Followed,
    /// It may not.
    Refused,
}

/// Whether a call must carry a key against repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// A call without a key is refused.
    Required,
    /// A key is honoured where there is one.
    Optional,
    /// The same; whoever signs says that carrying a call out twice does no more than once.
    NotNeeded,
}

impl Idempotency {
    /// Each and its word in a site file.
    const WORDS: [(&'static str, Self); 3] = [
        ("required", Self::Required),
        ("optional", Self::Optional),
        ("not_needed", Self::NotNeeded),
    ];
}

/// A budget of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumCalls {
    /// Calls in a window.
    pub calls: u64,
    /// Length of the window.
    pub window: Duration,
}

/// A rule that replaces parts of a result.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// Name; policies can oblige to it.
    pub name: String,
    /// When it applies.
    pub when: Apply,
    pattern: Regex,
    replacement: String,
}

/// When a redaction rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    /// To every result.
    Always,
    /// Where a policy says `@obligation("redact:<name>")`.
    WhenObliged,
}

impl Redaction {
    /// The text with every match replaced; borrowed if there was none.
    #[must_use]
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.pattern
            .replace_all(text, regex::NoExpand(&self.replacement))
    }
}

/// Arguments that keep to schema, rules and shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constrained {
    input: Input,
    shapes: BTreeMap<String, String>,
}

impl Constrained {
    /// The arguments as policy sees them.
    #[must_use]
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Name of the shape that each such argument has, by the argument's path.
    #[must_use]
    pub fn shapes(&self) -> &BTreeMap<String, String> {
        &self.shapes
    }
}

impl Capability {
    /// The arguments as policy sees them.
    ///
    /// # Errors
    /// The first rule that an argument breaks: first types, then the schema, then the rules and shapes.
    pub fn constrain(
        &self,
        arguments: &serde_json::Map<String, Json>,
    ) -> Result<Constrained, ConstraintViolation> {
        let input = Input::of_json(&self.fields, arguments).map_err(|(argument, mismatch)| {
            let rule = match mismatch {
                Mismatch::Unknown => Rule::UnknownArgument,
                Mismatch::Type => Rule::Type,
                Mismatch::Missing => Rule::Required,
                Mismatch::Number => Rule::UnrepresentableNumber,
            };
            ConstraintViolation { argument, rule }
        })?;
        self.against_schema(arguments)?;
        let mut shapes = BTreeMap::new();
        for (path, rules) in &self.arguments {
            let Some(value) = input.at(path) else {
                continue;
            };
            let shape = rules.apply(value).map_err(|rule| ConstraintViolation {
                argument: path.clone(),
                rule,
            })?;
            if let Some(shape) = shape {
                shapes.insert(path.clone(), shape.to_owned());
            }
        }
        Ok(Constrained { input, shapes })
    }

    /// Whether arguments that have to name the caller's own tenant or person do.
    ///
    /// # Errors
    /// The first argument that names somebody else.
    pub fn bound(
        &self,
        constrained: &Constrained,
        own: Own<'_>,
    ) -> Result<(), ConstraintViolation> {
        for (path, rules) in &self.arguments {
            if let Some(value) = constrained.input.at(path) {
                rules
                    .bound(value, own)
                    .map_err(|rule| ConstraintViolation {
                        argument: path.clone(),
                        rule,
                    })?;
            }
        }
        Ok(())
    }

    fn against_schema(
        &self,
        arguments: &serde_json::Map<String, Json>,
    ) -> Result<(), ConstraintViolation> {
        // The validator takes a value; the copy is of bounded size, and cheap beside a signature.
        match self.validator.validate(&Json::Object(arguments.clone())) {
            Ok(()) => Ok(()),
            Err(e) => {
                let path = e.instance_path().to_string();
                let argument = path.trim_start_matches('/').replace('/', ".");
                let argument = if argument.is_empty() {
                    "(arguments)".to_owned()
                } else {
                    argument
                };
                Err(ConstraintViolation {
                    argument,
                    rule: Rule::InputSchema,
                })
            }
        }
    }

    /// Types of the arguments.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<String, Field> {
        &self.fields
    }

    /// Whether any redaction rule of the capability would change this text: all are looked for in one pass.
    ///
    /// It can only be slow where it cannot tell: then it says yes, and the rules are applied one by one.
    #[must_use]
    pub fn is_touched(&self, text: &str) -> bool {
        self.touched.as_ref().is_none_or(|all| all.is_match(text))
    }

    /// The redaction rule of this name.
    #[must_use]
    pub fn redaction(&self, name: &str) -> Option<&Redaction> {
        self.redactions.iter().find(|r| r.name == name)
    }

    /// Arguments that have shapes, by path, and whether every call has them.
    pub(crate) fn shaped(&self) -> impl Iterator<Item = &str> {
        self.arguments
            .iter()
            .filter(|(_, rules)| !rules.shapes.is_empty())
            .map(|(path, _)| path.as_str())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: Spanned<String>,
    adapter: Spanned<String>,
    tool: Option<Spanned<String>>,
    method: Option<Spanned<String>>,
    #[serde(default)]
    asks: Vec<Spanned<String>>,
    tasks: Option<Spanned<bool>>,
    mode: Spanned<String>,
    description: String,
    descriptor: Option<Spanned<String>>,
    descriptor_file: Option<Spanned<String>>,
    input_schema: Option<Spanned<String>>,
    input_schema_file: Option<Spanned<String>>,
    classification: Spanned<String>,
    #[serde(default)]
    trace_results: bool,
    retention: Spanned<String>,
    residency: Spanned<String>,
    idempotency_key: Spanned<String>,
    min_assurance: Option<Spanned<u8>>,
    #[serde(default)]
    destinations: Vec<String>,
    #[serde(default)]
    endpoint_in: Vec<Spanned<String>>,
    tenants: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    scopes: Vec<Spanned<String>>,
    approvers: Option<Spanned<String>>,
    contact: Option<Spanned<String>>,
    #[serde(default)]
    tell_rules: bool,
    num_calls: Option<NumCallsSection>,
    #[serde(default)]
    arguments: BTreeMap<String, Spanned<ArgumentSection>>,
    #[serde(default)]
    redactions: Vec<RedactionSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumCallsSection {
    calls: Spanned<u64>,
    seconds: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArgumentSection {
    pattern: Option<Spanned<String>>,
    one_of: Option<Vec<Spanned<toml::Value>>>,
    allow_list: Option<Vec<String>>,
    min: Option<i64>,
    max: Option<i64>,
    max_length: Option<u64>,
    alphabet: Option<Spanned<String>>,
    must_be: Option<Spanned<String>>,
    destination: Option<Spanned<String>>,
    #[serde(default)]
    shapes: Vec<ShapeSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapeSection {
    name: Spanned<String>,
    template: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedactionSection {
    name: Spanned<String>,
    pattern: Spanned<String>,
    replacement: String,
    apply: Spanned<String>,
}

/// Reads one file. `texts` are the site's schema and descriptor files by path.
pub(crate) fn capability(
    source: Source<'_>,
    texts: &BTreeMap<&str, &str>,
    tenants: &[String],
    report: &mut Report,
) -> Option<Capability> {
    let file: File = toml_file(source, report)?;
    let before = report.count();
    let (method, tool) = named(source, &file, report)?;
    check_id(source, &file, &tool, report);
    let asks = asks(source, &file.asks, report);
    let tasks = tasks(source, file.tasks.as_ref(), method, report);
    let mode = word(
        source,
        "mode",
        &file.mode,
        &Mode::ALL.iter().map(|m| (m.name(), *m)).collect::<Vec<_>>(),
        report,
    );
    let classes: Vec<_> = Classification::ALL.iter().map(|c| (c.name(), *c)).collect();
    let classification = word(
        source,
        "classification",
        &file.classification,
        &classes,
        report,
    );
    let idempotency = word(
        source,
        "idempotency_key",
        &file.idempotency_key,
        &Idempotency::WORDS,
        report,
    );
    let keys = Keys {
        digest: file.descriptor.as_ref(),
        text: file.descriptor_file.as_ref(),
        missing: file.id.span(),
    };
    let descriptor = keys.pinned(source, (method, &tool), texts, report);
    check_bands(source, &file, report);
    check_assurance(source, &file, report);
    if let Some(group) = &file.approvers {
        let _ = plain_name(source, "approvers", group, report);
    }
    let asked = file.contact.as_ref();
    let contact = asked.and_then(|asked| contact(source, asked, report));
    for tenant in file.tenants.iter().flatten() {
        known_tenant(source, tenant, tenants, report);
    }
    let num_calls = file
        .num_calls
        .as_ref()
        .and_then(|n| num_calls(source, n, report));
    let schema = schema(source, &file, method, texts, report);
    let fields = schema.as_ref().map(|(_, fields, _)| fields);
    let endpoint_in = Arc::new(endpoint_list(source, &file.endpoint_in, report));
    let arguments = arguments(source, &file, (fields, &endpoint_in), report);
    let redactions = redactions(source, &file.redactions, report);
    let scopes = scopes(source, &file.scopes, report);
    let touched = together(redactions.iter().map(|r| r.pattern.as_str()));
    if report.count() > before {
        return None;
    }
    let (input_schema, fields, validator) = schema?;
    let (descriptor, pinned) = descriptor?;
    let at = file.mode.span();
    let capability = Capability {
        id: file.id.into_inner(),
        adapter: file.adapter.into_inner(),
        tool,
        method,
        asks,
        tasks,
        mode: mode?,
        description: file.description,
        descriptor,
        pinned,
        input_schema,
        min_assurance: file.min_assurance.map_or(0, Spanned::into_inner),
        destinations: file.destinations,
        endpoint_in,
        classification: classification?,
        trace_results: file.trace_results,
        retention: file.retention.into_inner(),
        residency: file.residency.into_inner(),
        idempotency: idempotency?,
        num_calls,
        tenants: match file.tenants {
            Some(named) => named.into_iter().map(Spanned::into_inner).collect(),
            None => tenants.to_vec(),
        },
        scopes,
        approvers: file.approvers.map(Spanned::into_inner),
        contact,
        tell_rules: file.tell_rules,
        redactions,
        arguments,
        fields,
        validator,
        touched,
    };
    contract::demand(source, &at, &capability, report);
    (report.count() == before).then_some(capability)
}

/// SPEC: RFC 6749 §3.3: a scope is printable ASCII without space, `"` and `\`.
fn scopes(source: Source<'_>, named: &[Spanned<String>], report: &mut Report) -> Vec<String> {
    let good = |scope: &str| {
        (1..=128).contains(&scope.len())
            && scope
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
    };
    for scope in named.iter().filter(|s| !good(s.get_ref())) {
        let expected = "1 to 128 printable characters without space, quote and backslash";
        report.value(source, scope.span(), "scopes", scope.get_ref(), expected);
    }
    named.iter().map(|s| s.get_ref().clone()).collect()
}

fn check_assurance(source: Source<'_>, file: &File, report: &mut Report) {
    if let Some(level) = file
        .min_assurance
        .as_ref()
        .filter(|l| *l.get_ref() > MAX_DEMANDED)
    {
        let found = level.get_ref().to_string();
        let expected = format!("0 to {MAX_DEMANDED}");
        report.value(source, level.span(), "min_assurance", &found, expected);
    }
}

/// Names of retention and residency.
fn check_bands(source: Source<'_>, file: &File, report: &mut Report) {
    for (key, text) in [
        ("retention", &file.retention),
        ("residency", &file.residency),
    ] {
        if text.get_ref().is_empty() || text.get_ref().len() > 64 {
            report.value(
                source,
                text.span(),
                key,
                text.get_ref(),
                "1 to 64 characters",
            );
        }
    }
}

/// What the file is about: a tool by its name, or a method, which is its own name.
fn named(source: Source<'_>, file: &File, report: &mut Report) -> Option<(Method, String)> {
    match (&file.tool, &file.method) {
        (Some(tool), None) => Some((Method::CallTool, tool.get_ref().clone())),
        (None, Some(method)) => {
            let words: Vec<_> = Method::NAMED.iter().map(|m| (m.name(), *m)).collect();
            let method = word(source, "method", method, &words, report)?;
            Some((method, method.name().to_owned()))
        }
        (Some(_), Some(_)) | (None, None) => {
            let problem = Problem::Missing {
                key: "tool".to_owned(),
                expected: "exactly one of tool and method".to_owned(),
            };
            report.at(source, file.id.span(), problem);
            None
        }
    }
}

fn asks(source: Source<'_>, named: &[Spanned<String>], report: &mut Report) -> BTreeSet<Ask> {
    let words: Vec<_> = Ask::ALL.iter().map(|a| (a.name(), *a)).collect();
    named
        .iter()
        .filter_map(|name| word(source, "asks", name, &words, report))
        .collect()
}

/// SPEC: extension `io.modelcontextprotocol/tasks`, "Supported Methods": only tools are answered with tasks.
fn tasks(
    source: Source<'_>,
    said: Option<&Spanned<bool>>,
    method: Method,
    report: &mut Report,
) -> Tasks {
    match said.map(|said| (said, said.get_ref())) {
        Some((_, true)) if method == Method::CallTool => Tasks::Followed,
        Some((said, true)) => {
            let expected = "false, as only tools are answered with tasks";
            report.value(source, said.span(), "tasks", "true", expected);
            Tasks::Refused
        }
        Some((_, false)) | None => Tasks::Refused,
    }
}

fn check_id(source: Source<'_>, file: &File, tool: &str, report: &mut Report) {
    let is_tool = !tool.is_empty()
        && tool.len() <= 128
        && tool
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'));
    if let (false, Some(named)) = (is_tool, &file.tool) {
        let expected = "1 to 128 letters, digits, and _ - . /";
        report.value(source, named.span(), "tool", tool, expected);
    }
    let expected = format!(
        "{}.{tool}, adapter and tool or method",
        file.adapter.get_ref()
    );
    if *file.id.get_ref() != format!("{}.{tool}", file.adapter.get_ref())
        || !is_plain_name(file.adapter.get_ref())
    {
        report.value(source, file.id.span(), "id", file.id.get_ref(), expected);
    }
}

fn num_calls(
    source: Source<'_>,
    section: &NumCallsSection,
    report: &mut Report,
) -> Option<NumCalls> {
    let mut positive = |key: &str, n: &Spanned<u64>| {
        let n_ok = (1..=31_536_000).contains(n.get_ref());
        if !n_ok {
            report.value(
                source,
                n.span(),
                key,
                &n.get_ref().to_string(),
                "1 to 31536000 (a year of seconds)",
            );
        }
        n_ok.then_some(*n.get_ref())
    };
    let calls = positive("num_calls.calls", &section.calls);
    let seconds = positive("num_calls.seconds", &section.seconds);
    Some(NumCalls {
        calls: calls?,
        window: Duration::from_secs(seconds?),
    })
}

type Schema = (Json, BTreeMap<String, Field>, jsonschema::Validator);

fn schema(
    source: Source<'_>,
    file: &File,
    method: Method,
    texts: &BTreeMap<&str, &str>,
    report: &mut Report,
) -> Option<Schema> {
    let (text, span) = match (&file.input_schema, &file.input_schema_file) {
        (None, None) if method.schema().is_some() => {
            (method.schema().unwrap_or_default(), file.id.span())
        }
        (Some(_), _) | (_, Some(_)) if method.schema().is_some() => {
            let problem = Problem::Syntax("a schema has no meaning for a method".to_owned());
            report.at(source, file.id.span(), problem);
            return None;
        }
        (Some(inline), None) => (inline.get_ref().as_str(), inline.span()),
        (None, Some(path)) => match texts
            .get(path.get_ref().as_str())
            .filter(|_| path.get_ref().starts_with("schemas/"))
        {
            Some(text) => (*text, path.span()),
            None => {
                report.at(
                    source,
                    path.span(),
                    Problem::Unknown {
                        what: "schema file",
                        name: path.get_ref().clone(),
                    },
                );
                return None;
            }
        },
        (Some(_), Some(_)) | (None, None) => {
            let expected = "exactly one of input_schema and input_schema_file".to_owned();
            report.at(
                source,
                file.id.span(),
                Problem::Missing {
                    key: "input schema".to_owned(),
                    expected,
                },
            );
            return None;
        }
    };
    match compile_schema(text) {
        Ok(schema) => Some(schema),
        Err(message) => {
            report.at(source, span, Problem::InputSchema(message));
            None
        }
    }
}

fn compile_schema(text: &str) -> Result<Schema, String> {
    let json: Json = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let fields = InputType::of_schema(&json)?;
    // `regex` patterns match in linear time; no reference is ever fetched.
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&json)
        .map_err(|e| format!("not a JSON Schema: {e}"))?;
    Ok((json, fields, validator))
}

fn arguments(
    source: Source<'_>,
    file: &File,
    (fields, endpoint_in): (Option<&BTreeMap<String, Field>>, &Arc<EndpointList>),
    report: &mut Report,
) -> BTreeMap<String, ArgumentRules> {
    let mut out = BTreeMap::new();
    for (path, section) in &file.arguments {
        let rules = rules(source, section.get_ref(), endpoint_in, report);
        let Some(fields) = fields else { continue };
        match type_at(fields, path) {
            None => {
                let problem = Problem::Unknown {
                    what: "argument",
                    name: path.clone(),
                };
                report.at(source, section.span(), problem);
            }
            Some(ty) => {
                if let Some((rule, needs)) = rules.misplaced(ty) {
                    let message = format!(
                        "{rule} needs {needs}, but argument {path} is {}",
                        ty.cedar()
                    );
                    report.at(source, section.span(), Problem::Syntax(message));
                }
                out.insert(path.clone(), rules);
            }
        }
    }
    out
}

fn type_at<'a>(fields: &'a BTreeMap<String, Field>, path: &str) -> Option<&'a InputType> {
    let mut names = path.split('.');
    let mut ty = &fields.get(names.next()?)?.ty;
    for name in names {
        match ty {
            InputType::Record(inner) => ty = &inner.get(name)?.ty,
            InputType::Bool
            | InputType::Long
            | InputType::Text
            | InputType::Set(_)
            | InputType::Map(_) => return None,
        }
    }
    Some(ty)
}

/// An argument that says where a call goes is of no use where nothing says where it may go.
fn destination(
    source: Source<'_>,
    named: &Spanned<String>,
    list: &Arc<EndpointList>,
    report: &mut Report,
) -> Option<Destination> {
    let names = word(source, "destination", named, &Names::WORDS, report)?;
    if list.is_empty() {
        let problem = Problem::Missing {
            key: "endpoint_in".to_owned(),
            expected: "where calls may go, because an argument says where they go".to_owned(),
        };
        report.at(source, named.span(), problem);
    }
    Some(Destination {
        names,
        list: Arc::clone(list),
    })
}

fn rules(
    source: Source<'_>,
    section: &ArgumentSection,
    endpoint_in: &Arc<EndpointList>,
    report: &mut Report,
) -> ArgumentRules {
    let pattern = section
        .pattern
        .as_ref()
        .and_then(|p| match WholePattern::compile(p.get_ref()) {
            Ok(pattern) => Some(pattern),
            Err(expected) => {
                report.value(
                    source,
                    p.span(),
                    "pattern",
                    p.get_ref(),
                    format!("a pattern ({expected})"),
                );
                None
            }
        });
    let one_of = section.one_of.as_ref().map(|values| {
        values
            .iter()
            .filter_map(|v| {
                let value = scalar(v.get_ref());
                if value.is_none() {
                    report.value(
                        source,
                        v.span(),
                        "one_of",
                        &v.get_ref().to_string(),
                        "texts or integers",
                    );
                }
                value
            })
            .collect()
    });
    let alphabet = section
        .alphabet
        .as_ref()
        .and_then(|a| word(source, "alphabet", a, &Alphabet::WORDS, report));
    ArgumentRules {
        pattern,
        one_of,
        allow_list: section.allow_list.clone(),
        min: section.min,
        max: section.max,
        max_length: section
            .max_length
            .map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        alphabet,
        shapes: shapes(source, &section.shapes, report),
        must_be: section
            .must_be
            .as_ref()
            .and_then(|m| word(source, "must_be", m, &MustBe::WORDS, report)),
        destination: section
            .destination
            .as_ref()
            .and_then(|named| destination(source, named, endpoint_in, report)),
    }
}

fn scalar(value: &toml::Value) -> Option<Value> {
    value
        .as_str()
        .map(|s| Value::Text(s.to_owned()))
        .or_else(|| value.as_integer().map(Value::Long))
}

fn shapes(source: Source<'_>, sections: &[ShapeSection], report: &mut Report) -> Vec<Shape> {
    let mut out: Vec<Shape> = Vec::new();
    for section in sections {
        if out.iter().any(|s| s.name() == section.name.get_ref()) {
            let name = section.name.get_ref().clone();
            let first = source.file.to_owned();
            report.at(
                source,
                section.name.span(),
                Problem::Duplicate {
                    what: "shape",
                    name,
                    first,
                },
            );
        }
        match Shape::compile(section.name.get_ref(), section.template.get_ref()) {
            Ok(shape) => out.push(shape),
            Err(e) => {
                let template = section.template.get_ref();
                report.value(
                    source,
                    section.template.span(),
                    "template",
                    template,
                    format!("a statement ({e})"),
                );
            }
        }
    }
    out
}

fn redactions(
    source: Source<'_>,
    sections: &[RedactionSection],
    report: &mut Report,
) -> Vec<Redaction> {
    let mut out: Vec<Redaction> = Vec::new();
    for section in sections {
        let name = plain_name(source, "redactions.name", &section.name, report);
        let applies = [
            ("always", Apply::Always),
            ("when_obliged", Apply::WhenObliged),
        ];
        let when = word(source, "redactions.apply", &section.apply, &applies, report);
        let pattern = match bounded(section.pattern.get_ref()) {
            Ok(pattern) => Some(pattern),
            Err(e) => {
                let found = section.pattern.get_ref();
                report.value(
                    source,
                    section.pattern.span(),
                    "redactions.pattern",
                    found,
                    format!("a pattern ({e})"),
                );
                None
            }
        };
        let (Some(name), Some(when), Some(pattern)) = (name, when, pattern) else {
            continue;
        };
        if out.iter().any(|r| r.name == name) {
            let first = source.file.to_owned();
            let problem = Problem::Duplicate {
                what: "redaction",
                name: name.clone(),
                first,
            };
            report.at(source, section.name.span(), problem);
        }
        out.push(Redaction {
            name,
            when,
            pattern,
            replacement: section.replacement.clone(),
        });
    }
    out
}
