//! Arguments of a call as policy sees them.
//!
//! In: a JSON Schema when a site is loaded, JSON arguments when a call comes. Out: an
//! [`InputType`], which becomes the type of `context.input`, and an [`Input`] of that type.
//! What Cedar cannot hold exactly is refused, never rounded: a number that is not an
//! integer of 64 bits, or is written in another way than Cedar would write it. An argument
//! that the schema does not name is refused, whatever the schema says of further properties,
//! because policy could not see it. `null` where the schema allows it counts as absent.

use countersign_record::cbor::{Cbor, CborError, Reader, Writer};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Deepest nesting of lists and objects in an argument, the arguments' own object not counted.
///
/// Each level takes 3 of the 16 levels that `countersign_record::cbor` reads.
pub const MAX_NESTING: usize = 3;

/// Most properties that one schema may name.
pub const MAX_PROPERTIES: usize = 256;

/// Type of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputType {
    /// `true` or `false`.
    Bool,
    /// A 64-bit integer.
    Long,
    /// Text.
    Text,
    /// A list; policy sees it as a set.
    Set(Box<InputType>),
    /// An object.
    Record(BTreeMap<String, Field>),
    /// An object whose names are not fixed; policy sees it as a set of `{ name, value }`. Its values are scalars.
    Map(Box<InputType>),
}

/// Type of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its type.
    pub ty: InputType,
    /// Whether a call must have it.
    pub presence: Presence,
    /// Whether `null` may stand for its absence.
    pub null: Null,
}

/// Whether a property must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Every call has it.
    Required,
    /// A call may leave it out.
    Optional,
}

/// Whether `null` may stand for absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Null {
    /// `null` is of the wrong type.
    Refused,
    /// `null` counts as absent.
    Absent,
}

/// An argument's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A 64-bit integer.
    Long(i64),
    /// Text.
    Text(String),
    /// A list, in its order.
    Set(Vec<Value>),
    /// An object.
    Record(BTreeMap<String, Value>),
}

/// The arguments of a call, typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input(pub BTreeMap<String, Value>);

/// Why arguments are not of their type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The schema does not name it.
    Unknown,
    /// It is of another type.
    Type,
    /// It is absent.
    Missing,
    /// Cedar cannot hold this number.
    Number,
}

impl InputType {
    /// The type of an object schema.
    ///
    /// # Errors
    /// In words, what policy could not be shown.
    pub fn of_schema(schema: &Json) -> Result<BTreeMap<String, Field>, String> {
        let mut reader = SchemaReader {
            root: schema,
            properties: 0,
        };
        match reader.read(schema, "", 0)? {
            (InputType::Record(fields), Null::Refused) => Ok(fields),
            _ => Err("the arguments must be an object".to_owned()),
        }
    }

    /// The type in Cedar's schema language.
    #[must_use]
    pub fn cedar(&self) -> String {
        match self {
            Self::Bool => "Bool".to_owned(),
            Self::Long => "Long".to_owned(),
            Self::Text => "String".to_owned(),
            Self::Set(item) => format!("Set<{}>", item.cedar()),
            Self::Record(fields) => cedar_record(fields),
            Self::Map(value) => {
                format!("Set<{{ \"name\": String, \"value\": {} }}>", value.cedar())
            }
        }
    }
}

/// A record type in Cedar's schema language.
pub(crate) fn cedar_record(fields: &BTreeMap<String, Field>) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, field)| {
            let mark = match field.presence {
                Presence::Required => "",
                Presence::Optional => "?",
            };
            format!("{}{mark}: {}", cedar_string(name), field.ty.cedar())
        })
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

/// A string literal of Cedar.
pub(crate) fn cedar_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_ascii_graphic() || c == ' ' => out.push(c),
            c => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Reads types out of a JSON Schema; local references only.
struct SchemaReader<'a> {
    root: &'a Json,
    properties: usize,
}

impl<'a> SchemaReader<'a> {
    fn read(
        &mut self,
        schema: &'a Json,
        path: &str,
        depth: usize,
    ) -> Result<(InputType, Null), String> {
        // A reference to a schema around itself would also end here.
        let too_deep = || Err(format!("{} nests deeper than {MAX_NESTING}", name(path)));
        if depth > MAX_NESTING.saturating_add(1) {
            return too_deep();
        }
        let schema = self.resolve(schema, path)?;
        let Some(object) = schema.as_object() else {
            return Err(format!("{} has no type that policy could see", name(path)));
        };
        for key in ["anyOf", "oneOf"] {
            if let Some(branches) = object.get(key).and_then(Json::as_array) {
                return self.one_branch(branches, path, depth);
            }
        }
        let (kind, null) = kind(object, path)?;
        // A plain value takes no level of its own.
        if depth > MAX_NESTING && matches!(kind, "array" | "object") {
            return too_deep();
        }
        let ty = match kind {
            "boolean" => InputType::Bool,
            "integer" | "number" => InputType::Long,
            "string" => InputType::Text,
            "array" => {
                let items = object.get("items").ok_or_else(|| {
                    format!(
                        "{} is a list without items, which policy could not see",
                        name(path)
                    )
                })?;
                match self.read(items, &format!("{path}/items"), depth.saturating_add(1))? {
                    (item, Null::Refused) => InputType::Set(Box::new(item)),
                    (_, Null::Absent) => {
                        return Err(format!("{} is a list that may hold null", name(path)));
                    }
                }
            }
            "object" if is_map(object) => self.map(object, path, depth)?,
            "object" => InputType::Record(self.fields(object, path, depth)?),
            other => {
                return Err(format!(
                    "{} has type {other:?}, which policy cannot see",
                    name(path)
                ));
            }
        };
        Ok((ty, null))
    }

    /// An object that names no properties and gives all of them one type.
    fn map(
        &mut self,
        object: &'a serde_json::Map<String, Json>,
        path: &str,
        depth: usize,
    ) -> Result<InputType, String> {
        let values = object.get("additionalProperties").unwrap_or(&Json::Null);
        match self.read(values, &format!("{path}/*"), depth.saturating_add(1))? {
            (scalar @ (InputType::Bool | InputType::Long | InputType::Text), Null::Refused)
                if depth > 0 && depth < MAX_NESTING =>
            {
                Ok(InputType::Map(Box::new(scalar)))
            }
            _ => Err(format!(
                "{} has typed additionalProperties, which policy can see only below the arguments, as texts, integers or \
                 booleans, with no properties named beside them",
                name(path)
            )),
        }
    }

    /// One typed branch, and `null` beside it.
    fn one_branch(
        &mut self,
        branches: &'a [Json],
        path: &str,
        depth: usize,
    ) -> Result<(InputType, Null), String> {
        let is_null = |b: &&Json| b.get("type").and_then(Json::as_str) == Some("null");
        let nulls = branches.iter().filter(is_null).count();
        let typed: Vec<&Json> = branches.iter().filter(|b| !is_null(b)).collect();
        match typed.as_slice() {
            [only] => {
                let (ty, null) = self.read(only, path, depth)?;
                Ok((ty, if nulls > 0 { Null::Absent } else { null }))
            }
            _ => Err(format!(
                "{} may have one of several types; give it one",
                name(path)
            )),
        }
    }

    fn fields(
        &mut self,
        object: &'a serde_json::Map<String, Json>,
        path: &str,
        depth: usize,
    ) -> Result<BTreeMap<String, Field>, String> {
        if object.contains_key("patternProperties") {
            return Err(format!(
                "{} has patternProperties, which policy cannot see",
                name(path)
            ));
        }
        if object
            .get("additionalProperties")
            .is_some_and(Json::is_object)
        {
            return Err(format!(
                "{} has typed additionalProperties, which policy cannot see",
                name(path)
            ));
        }
        let empty = Vec::new();
        let required = object
            .get("required")
            .and_then(Json::as_array)
            .unwrap_or(&empty);
        let mut fields = BTreeMap::new();
        for (key, schema) in object
            .get("properties")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
        {
            self.properties = self.properties.saturating_add(1);
            if self.properties > MAX_PROPERTIES {
                return Err(format!("more than {MAX_PROPERTIES} properties"));
            }
            let (ty, null) =
                self.read(schema, &format!("{path}/{key}"), depth.saturating_add(1))?;
            let is_required = required.iter().any(|r| r.as_str() == Some(key));
            let presence = match (is_required, null) {
                (true, Null::Refused) => Presence::Required,
                (true, Null::Absent) | (false, _) => Presence::Optional,
            };
            fields.insert(key.clone(), Field { ty, presence, null });
        }
        match required
            .iter()
            .filter_map(Json::as_str)
            .find(|r| !fields.contains_key(*r))
        {
            Some(r) => Err(format!(
                "{} requires {r:?}, which properties does not name",
                name(path)
            )),
            None => Ok(fields),
        }
    }

    fn resolve(&self, schema: &'a Json, path: &str) -> Result<&'a Json, String> {
        let mut schema = schema;
        for _ in 0..8 {
            let Some(reference) = schema.get("$ref") else {
                return Ok(schema);
            };
            schema = reference
                .as_str()
                .and_then(|r| r.strip_prefix('#'))
                .and_then(|pointer| self.root.pointer(pointer))
                .ok_or_else(|| format!("{} refers to something outside this schema", name(path)))?;
        }
        Err(format!("{} is a chain of references", name(path)))
    }
}

/// Whether all that a schema says of an object's properties is their common type.
fn is_map(object: &serde_json::Map<String, Json>) -> bool {
    let named = |key: &str| {
        object
            .get(key)
            .and_then(Json::as_object)
            .is_some_and(|o| !o.is_empty())
    };
    object
        .get("additionalProperties")
        .is_some_and(Json::is_object)
        && !named("properties")
        && !named("patternProperties")
        && !object.contains_key("required")
}

fn name(path: &str) -> String {
    if path.is_empty() {
        "the schema".to_owned()
    } else {
        path.to_owned()
    }
}

/// The one type of a schema, and whether it may be `null`.
fn kind<'a>(
    object: &'a serde_json::Map<String, Json>,
    path: &str,
) -> Result<(&'a str, Null), String> {
    let untyped = || format!("{} has no type that policy could see", name(path));
    match object.get("type") {
        Some(Json::String(kind)) => Ok((kind, Null::Refused)),
        Some(Json::Array(kinds)) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Json::as_str).collect();
            match kinds.as_slice() {
                [kind] => Ok((kind, Null::Refused)),
                ["null", kind] | [kind, "null"] => Ok((kind, Null::Absent)),
                _ => Err(untyped()),
            }
        }
        Some(_) => Err(untyped()),
        None if object.contains_key("properties") => Ok(("object", Null::Refused)),
        None => {
            let mut values = object
                .get("enum")
                .and_then(Json::as_array)
                .into_iter()
                .flatten();
            let mut constant = object.get("const").into_iter();
            let is_text = values
                .next()
                .or_else(|| constant.next())
                .is_some_and(Json::is_string)
                && values.all(Json::is_string);
            if is_text {
                Ok(("string", Null::Refused))
            } else {
                Err(untyped())
            }
        }
    }
}

impl Input {
    /// The arguments as values of their types.
    pub(crate) fn of_json(
        fields: &BTreeMap<String, Field>,
        arguments: &serde_json::Map<String, Json>,
    ) -> Result<Self, (String, Mismatch)> {
        record(fields, arguments, "").map(Self)
    }

    /// The value at a path of names joined by dots.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let mut value = self.0.get(names.next()?)?;
        for name in names {
            match value {
                Value::Record(fields) => value = fields.get(name)?,
                Value::Bool(_) | Value::Long(_) | Value::Text(_) | Value::Set(_) => return None,
            }
        }
        Some(value)
    }
}

fn record(
    fields: &BTreeMap<String, Field>,
    object: &serde_json::Map<String, Json>,
    path: &str,
) -> Result<BTreeMap<String, Value>, (String, Mismatch)> {
    let join = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    if let Some(key) = object.keys().find(|key| !fields.contains_key(*key)) {
        return Err((join(&shown(key)), Mismatch::Unknown));
    }
    let mut out = BTreeMap::new();
    for (key, field) in fields {
        match object.get(key) {
            Some(Json::Null) if field.null == Null::Absent => {}
            Some(json) => {
                out.insert(key.clone(), value(&field.ty, json, &join(key))?);
            }
            None if field.presence == Presence::Required => {
                return Err((join(key), Mismatch::Missing));
            }
            None => {}
        }
    }
    Ok(out)
}

/// A name that a caller made up, fit to be shown: a short word, or nothing of it.
fn shown(key: &str) -> String {
    let plain = key.len() <= 64
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain {
        key.to_owned()
    } else {
        "(unprintable name)".to_owned()
    }
}

fn value(ty: &InputType, json: &Json, path: &str) -> Result<Value, (String, Mismatch)> {
    let wrong = |m: Mismatch| (path.to_owned(), m);
    match (ty, json) {
        (InputType::Bool, Json::Bool(b)) => Ok(Value::Bool(*b)),
        (InputType::Long, Json::Number(n)) => long(n)
            .map(Value::Long)
            .ok_or_else(|| wrong(Mismatch::Number)),
        (InputType::Text, Json::String(s)) => Ok(Value::Text(s.clone())),
        (InputType::Set(item), Json::Array(items)) => items
            .iter()
            .map(|j| value(item, j, path))
            .collect::<Result<_, _>>()
            .map(Value::Set),
        (InputType::Record(fields), Json::Object(object)) => {
            record(fields, object, path).map(Value::Record)
        }
        (InputType::Map(ty), Json::Object(object)) => object
            .iter()
            .map(|(key, json)| {
                let path = format!("{path}.{}", shown(key));
                let members = [
                    ("name".to_owned(), Value::Text(key.clone())),
                    ("value".to_owned(), value(ty, json, &path)?),
                ];
                Ok(Value::Record(BTreeMap::from(members)))
            })
            .collect::<Result<_, _>>()
            .map(Value::Set),
        (
            InputType::Bool
            | InputType::Long
            | InputType::Text
            | InputType::Set(_)
            | InputType::Record(_)
            | InputType::Map(_),
            Json::Null
            | Json::Bool(_)
            | Json::Number(_)
            | Json::String(_)
            | Json::Array(_)
            | Json::Object(_),
        ) => Err(wrong(Mismatch::Type)),
    }
}

/// The integer that a number is, if writing it again gives the same text.
pub(crate) fn long(n: &serde_json::Number) -> Option<i64> {
    let i = n.as_i64()?;
    (i.to_string() == n.to_string()).then_some(i)
}

// A value is [kind, content]: 0 boolean, 1 integer, 2 text, 3 list, 4 object as [name, value] pairs.
impl Cbor for Value {
    fn write(&self, w: &mut Writer) {
        w.array(2);
        match self {
            Self::Bool(b) => {
                w.uint(0);
                w.boolean(*b);
            }
            Self::Long(n) => {
                w.uint(1);
                w.int(*n);
            }
            Self::Text(s) => {
                w.uint(2);
                w.text(s);
            }
            Self::Set(items) => {
                w.uint(3);
                w.array(items.len());
                items.iter().for_each(|v| v.write(w));
            }
            Self::Record(fields) => {
                w.uint(4);
                write_fields(fields, w);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.tuple(2, |r| {
            let at = r.position();
            match r.uint()? {
                0 => r.boolean().map(Self::Bool),
                1 => r.int().map(Self::Long),
                2 => r.text().map(|s| Self::Text(s.to_owned())),
                3 => r
                    .array(|r, n| (0..n).map(|_| Self::read(r)).collect())
                    .map(Self::Set),
                4 => read_fields(r).map(Self::Record),
                _ => Err(CborError::OutOfRange {
                    at,
                    what: "kind of a value",
                }),
            }
        })
    }
}

impl Cbor for Input {
    fn write(&self, w: &mut Writer) {
        write_fields(&self.0, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        read_fields(r).map(Self)
    }
}

fn write_fields(fields: &BTreeMap<String, Value>, w: &mut Writer) {
    w.array(fields.len());
    for (name, value) in fields {
        w.array(2);
        w.text(name);
        value.write(w);
    }
}

fn read_fields(r: &mut Reader<'_>) -> Result<BTreeMap<String, Value>, CborError> {
    r.array(|r, n| {
        let mut fields: BTreeMap<String, Value> = BTreeMap::new();
        for _ in 0..n {
            let at = r.position();
            let (name, value) = r.tuple(2, |r| Ok((r.text()?.to_owned(), Value::read(r)?)))?;
            if fields
                .last_key_value()
                .is_some_and(|(last, _)| *last >= name)
            {
                return Err(CborError::OutOfRange {
                    at,
                    what: "order of properties",
                });
            }
            fields.insert(name, value);
        }
        Ok(fields)
    })
}

#[cfg(test)]
mod tests;
