//! Compares the fields of objects.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    differ::{Differ, Found, members_of_both, under},
    flat::{Flat, flat},
    rules::{Change, Scope},
};
use crate::openapi::{elements, is_true, pointer_step};

/// The keywords that [`Differ::fields`] judges, and those that are judged with a field.
pub(super) const KEYWORDS: [&str; 5] =
    ["properties", "required", "additionalProperties", "readOnly", "writeOnly"];

/// Whether a field is part of messages in a direction.
struct Presence {
    read_only: bool,
    write_only: bool,
}

impl Presence {
    fn of(document: &Value, field: &Value) -> Self {
        let flat = flat(document, field);
        Self { read_only: is_true(flat.get("readOnly")), write_only: is_true(flat.get("writeOnly")) }
    }

    /// Requests have no readOnly field, and responses have no writeOnly field.
    fn hidden(&self, scope: Scope) -> bool {
        if scope == Scope::Request { self.read_only } else { self.write_only }
    }
}

impl Differ<'_> {
    pub(super) fn fields(&self, a: &Flat, b: &Flat, scope: Scope) -> Vec<Found> {
        let (was, is) = (required(a), required(b));
        let mut found = Vec::new();
        let mut judged = BTreeSet::new();
        for (name, before, after) in members_of_both(a.get("properties"), b.get("properties")) {
            let needed = (was.contains(name), is.contains(name));
            if needed.0 == needed.1 && !self.differ(before, after) {
                continue;
            }
            let at = pointer_step("/properties", name);
            let hidden = |document, field: Option<&Value>| {
                field.is_some_and(|field| Presence::of(document, field).hidden(scope))
            };
            let hidden = (hidden(self.old, before), hidden(self.new, after));
            let change = match (before, after, hidden) {
                (Some(before), Some(after), (false, false)) => {
                    found.extend(self.presence(before, after, &at, scope));
                    found.extend(under(&at, None, self.schema(before, after, scope)));
                    continue;
                }
                (Some(before), Some(after), (true, true)) => {
                    judged.insert(name);
                    if self.schema(before, after, scope).is_empty() {
                        continue;
                    }
                    Change::HiddenPropertyChanged
                }
                (Some(_), Some(_), _) => {
                    judged.insert(name);
                    let added = hidden.1;
                    match (scope == Scope::Request, added) {
                        (true, true) => Change::ReadOnlyAdded,
                        (true, false) if needed.1 => Change::ReadOnlyRemovedRequired,
                        (true, false) => Change::ReadOnlyRemoved,
                        (false, true) => Change::WriteOnlyAdded,
                        (false, false) => Change::WriteOnlyRemoved,
                    }
                }
                _ if hidden.0 || hidden.1 => {
                    judged.insert(name);
                    Change::HiddenPropertyChanged
                }
                (None, ..) => {
                    if needed.1 {
                        judged.insert(name);
                    }
                    if needed == (false, true) {
                        Change::RequiredPropertyAdded
                    } else {
                        Change::PropertyAdded
                    }
                }
                (_, None, _) => {
                    if needed.0 {
                        judged.insert(name);
                    }
                    Change::PropertyRemoved
                }
            };
            found.push(Found::new(change, scope, at).values(before, after));
        }
        for name in was.union(&is).filter(|name| !judged.contains(*name)) {
            let change = match (was.contains(name), is.contains(name)) {
                (false, true) => Change::PropertyBecameRequired,
                (true, false) => Change::PropertyBecameOptional,
                _ => continue,
            };
            found.push(Found::new(change, scope, pointer_step("/required", name)));
        }
        found.extend(self.other_fields(a, b, scope));
        found
    }

    /// The flag of the other direction: a field that can only be sent is still part of requests.
    fn presence(&self, before: &Value, after: &Value, at: &str, scope: Scope) -> Option<Found> {
        let (was, is) = (Presence::of(self.old, before), Presence::of(self.new, after));
        let change = match scope {
            Scope::Request if !was.write_only && is.write_only => Change::WriteOnlyAdded,
            Scope::Request if was.write_only && !is.write_only => Change::WriteOnlyRemoved,
            Scope::Response if !was.read_only && is.read_only => Change::ReadOnlyAdded,
            Scope::Response if was.read_only && !is.read_only => Change::ReadOnlyRemoved,
            _ => return None,
        };
        Some(Found::new(change, scope, at))
    }

    /// The fields that are not listed.
    fn other_fields(&self, a: &Flat, b: &Flat, scope: Scope) -> Vec<Found> {
        const AT: &str = "/additionalProperties";
        let (before, after) = (a.get("additionalProperties"), b.get("additionalProperties"));
        let closed = |value: Option<&Value>| value == Some(&Value::Bool(false));
        let change = match (before, after) {
            (None, None) => return Vec::new(),
            (before, after) if closed(before) && closed(after) => return Vec::new(),
            (None, after) if closed(after) => Change::FreeFieldsForbidden,
            (None, _) => Change::MapAdded,
            (before, _) if closed(before) => Change::FreeFieldsAllowed,
            (_, None) => Change::MapOpened,
            (_, after) if closed(after) => Change::MapRemoved,
            (Some(before), Some(after)) => return under(AT, None, self.schema(before, after, scope)),
        };
        vec![Found::new(change, scope, AT).values(before, after)]
    }
}

/// The names of the required fields.
fn required(flat: &Flat) -> BTreeSet<&str> {
    elements(flat.get("required")).filter_map(Value::as_str).collect()
}
