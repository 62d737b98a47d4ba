//! The checks that JSON Schema cannot express: undocumented fields, values beside an open list, and
//! promises under a condition.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::discriminant,
    sync::OnceLock,
};

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    pointer::push_step,
    redact::{self, list},
    report::{DriftKind, Report},
    schemas::{self, Schemas},
};

/// The shapes of all messages of one direction, sorted by name.
#[derive(Debug, Deserialize)]
#[serde(from = "BTreeMap<String, Shape>")]
pub(crate) struct Shapes(Vec<(String, Shape)>);

impl From<BTreeMap<String, Shape>> for Shapes {
    fn from(shapes: BTreeMap<String, Shape>) -> Self {
        Self(shapes.into_iter().collect())
    }
}

/// A reference to a shape. One that is not listed allows everything.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Link {
    name: String,
    /// Its index, which is searched for on first use.
    index: OnceLock<Option<usize>>,
}

impl From<String> for Link {
    fn from(name: String) -> Self {
        Self { name, index: OnceLock::new() }
    }
}

/// What is documented about a value, from all schemas that describe it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shape {
    /// The first of the schemas; the name of the shape if there is one only.
    pointer: Option<String>,
    fields: BTreeMap<String, Link>,
    /// Whether other fields are undocumented.
    closed: bool,
    /// The shape of all other fields.
    additional: Option<Link>,
    items: Option<Link>,
    values: Vec<OpenList>,
    promises: Vec<Promise>,
    secret: bool,
}

/// An open list of values, with its place.
#[derive(Debug, Deserialize)]
struct OpenList {
    pointer: String,
    values: Vec<Value>,
}

/// A value that is valid against `when` must be valid against `then`.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
struct Promise {
    pointer: String,
    when: OnceLock<Validator>,
    then: OnceLock<Validator>,
}

impl From<String> for Promise {
    fn from(pointer: String) -> Self {
        Self { pointer, when: OnceLock::new(), then: OnceLock::new() }
    }
}

/// The pointers of received fields and values, with `*` for the elements of a list.
pub(crate) type Seen = BTreeSet<String>;

impl Shapes {
    fn get(&self, link: &Link) -> Option<&Shape> {
        let find = || self.0.binary_search_by(|(name, _)| name.as_str().cmp(&link.name)).ok();
        Some(&self.0.get((*link.index.get_or_init(find))?)?.1)
    }

    /// The place of a shape in the description.
    fn pointer<'a>(&'a self, link: &'a Link) -> &'a str {
        self.get(link).and_then(|shape| shape.pointer.as_ref()).unwrap_or(&link.name)
    }

    /// Whether the value at this path below the shape is a secret.
    pub(crate) fn is_secret(&self, shape: &Link, path: impl Iterator<Item = String>) -> bool {
        let mut at = Some(shape);
        let mut secret = false;
        for name in path {
            let shape = at.and_then(|link| self.get(link));
            at = shape.and_then(|shape| {
                shape.fields.get(&name).or(shape.items.as_ref()).or(shape.additional.as_ref())
            });
            secret |= redact::is_secret(&name);
            secret |= at.and_then(|link| self.get(link)).is_some_and(|shape| shape.secret);
        }
        secret
    }

    /// Whether the value of the shape, or any value below it, is a secret.
    pub(crate) fn holds_secrets(&self, shape: &Link) -> bool {
        let (mut open, mut done) = (vec![shape], BTreeSet::new());
        while let Some(link) = open.pop() {
            let Some(shape) = self.get(link) else { continue };
            if !done.insert(&link.name) {
                continue;
            }
            if shape.secret {
                return true;
            }
            open.extend(shape.fields.values().chain(&shape.additional).chain(&shape.items));
        }
        false
    }

    /// Checks a value and everything below it. `at` is its pointer and is the same afterwards.
    pub(crate) fn check(
        &self,
        link: &Link,
        value: &Value,
        at: &mut String,
        schemas: &Schemas,
        report: &mut Report,
    ) {
        let Some(shape) = self.get(link) else { return };
        for OpenList { pointer, values } in &shape.values {
            // A value of another type already breaks the schema.
            let same_type = values.iter().any(|listed| discriminant(listed) == discriminant(value));
            if same_type && !values.iter().any(|listed| is_equal(listed, value)) {
                let actual = redact::value(value, shape.secret);
                report.drift(DriftKind::UnknownValue, at, actual, list(values), pointer);
            }
        }
        for Promise { pointer, when, then } in &shape.promises {
            let then = schemas.validator(then, &format!("{pointer}/then"));
            if !then.is_valid(value) && schemas.validator(when, &format!("{pointer}/when")).is_valid(value) {
                for error in then.iter_errors(value) {
                    let secret = self.is_secret(link, schemas::path(&error));
                    schemas::violation(&error, at, secret, &schemas.document, pointer, report);
                }
            }
        }
        let length = at.len();
        match value {
            Value::Object(object) => {
                for (name, member) in object {
                    push_step(at, name);
                    match shape.fields.get(name).or(shape.additional.as_ref()) {
                        Some(field) => self.check(field, member, at, schemas, report),
                        None if shape.closed => {
                            // The old name of a renamed field comes first.
                            let mut missing: Vec<_> =
                                shape.fields.keys().filter(|field| !object.contains_key(*field)).collect();
                            missing.sort_by_key(|field| !is_similar(field, name));
                            let actual = redact::value(member, redact::is_secret(name));
                            let missing = redact::names(missing.into_iter());
                            report.drift(DriftKind::UnknownField, at, actual, missing, self.pointer(link));
                        }
                        None => {}
                    }
                    at.truncate(length);
                }
            }
            Value::Array(list) => {
                if let Some(items) = &shape.items {
                    for (index, member) in list.iter().enumerate() {
                        at.push_str(&format!("/{index}"));
                        self.check(items, member, at, schemas, report);
                        at.truncate(length);
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes which documented fields and listed values are present.
    pub(crate) fn record(&self, link: &Link, value: &Value, at: &mut String, seen: &mut Seen) {
        let Some(shape) = self.get(link) else { return };
        if shape.values.iter().any(|list| list.values.contains(value)) {
            seen.insert(format!("{at}={value}"));
        }
        let length = at.len();
        match value {
            Value::Object(object) => {
                for (name, member) in object {
                    let Some(field) = shape.fields.get(name) else { continue };
                    push_step(at, name);
                    seen.insert(at.clone());
                    self.record(field, member, at, seen);
                    at.truncate(length);
                }
            }
            Value::Array(list) => {
                if let Some(items) = &shape.items {
                    at.push_str("/*");
                    for member in list {
                        self.record(items, member, at, seen);
                    }
                    at.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Reports what is documented and not in `seen`, but nothing below a field that is not in `seen`.
    pub(crate) fn not_received(&self, link: &Link, at: &mut String, seen: &Seen, report: &mut Report) {
        let Some(shape) = self.get(link) else { return };
        for OpenList { pointer, values } in &shape.values {
            for value in values.iter().filter(|value| !seen.contains(&format!("{at}={value}"))) {
                let documented = format!("the value {value}");
                report.drift(DriftKind::NotReceived, at, "nothing", documented, pointer);
            }
        }
        let length = at.len();
        for (name, field) in &shape.fields {
            push_step(at, name);
            if seen.contains(at.as_str()) {
                self.not_received(field, at, seen, report);
            } else {
                let documented = format!("the field `{name}`");
                report.drift(DriftKind::NotReceived, at, "nothing", documented, self.pointer(field));
            }
            at.truncate(length);
        }
        if let Some(items) = &shape.items {
            at.push_str("/*");
            if seen.range(at.clone()..).next().is_some_and(|first| first.starts_with(at.as_str())) {
                self.not_received(items, at, seen, report);
            }
            at.truncate(length);
        }
    }
}

/// Whether one name contains the other, regardless of case and word separators.
fn is_similar(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let (one, other) = (plain(one), plain(other));
    one.contains(&other) || other.contains(&one)
}

/// Whether two values are equal, including `3` and `3.0`.
fn is_equal(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|number| Some(number) == other.as_f64())
}
