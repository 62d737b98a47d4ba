//! Compares two schemas, keyword by keyword.

use std::{collections::BTreeSet, rc::Rc};

use serde_json::{Value, json};

use super::{
    differ::{Differ, Found, follow, under},
    flat::{CHOICE, Flat, flat},
    rules::{Change, Scope, Verdict},
};
use crate::openapi::{DOCS, elements, is_true, pointer_step};

/// Schemas deeper than this are compared as a whole: no description needs more, and the stack is limited.
const MAX_DEPTH: usize = 64;

impl Differ<'_> {
    /// All changes from one schema to another, relative to them.
    pub(super) fn schema(&self, old: &Value, new: &Value, scope: Scope) -> Vec<Found> {
        if !self.differ(Some(old), Some(new)) {
            return Vec::new();
        }
        // A schema may contain itself, and alternatives are compared several times.
        let key = (old.to_string(), new.to_string(), scope);
        if let Some(known) = self.known.borrow().get(&key) {
            return known.as_ref().map(|found| found.to_vec()).unwrap_or_default();
        }
        self.known.borrow_mut().insert(key.clone(), None);
        let found = Rc::new(self.at_depth(old, new, scope));
        self.known.borrow_mut().insert(key, Some(found.clone()));
        found.to_vec()
    }

    fn at_depth(&self, old: &Value, new: &Value, scope: Scope) -> Vec<Found> {
        if self.depth.get() >= MAX_DEPTH {
            let differ = (old != new).then(|| Found::new(Change::SchemaChanged, scope, ""));
            return differ.into_iter().collect();
        }
        self.depth.set(self.depth.get() + 1);
        let found = self.flattened(old, new, scope);
        self.depth.set(self.depth.get() - 1);
        found
    }

    fn flattened(&self, old: &Value, new: &Value, scope: Scope) -> Vec<Found> {
        let (a, b) = (flat(self.old, old), flat(self.new, new));
        let mut found = if has_alternatives(&a) == has_alternatives(&b) {
            self.keywords(&a, &b, scope)
        } else {
            self.alternatives_of_one(old, new, (&a, &b), scope)
        };
        found.extend(self.all_of(old, new, &found, scope));
        let whole = [follow(self.new, new).1, follow(self.old, old).1];
        for one in found.iter_mut().filter(|one| one.component.is_none()) {
            let place = place(&one.at);
            let origin = [&b, &a].into_iter().find_map(|flat| flat.origins.get(&place));
            let component = origin.map(String::as_str).or(whole[0]).or(whole[1]);
            one.component = component.map(|component| format!("{component}{}", one.at));
        }
        let mut seen = BTreeSet::new();
        found.retain(|one| match &one.component {
            Some(component) => seen.insert((one.change, one.scope, component.clone())),
            None => true,
        });
        found
    }

    fn keywords(&self, a: &Flat, b: &Flat, scope: Scope) -> Vec<Found> {
        let mut found = types(a, b, scope);
        let another_type = found.iter().any(|one| one.change == Change::TypeChanged);
        if !another_type {
            found.extend(super::value::compare(a, b, scope));
            found.extend(self.fields(a, b, scope));
            found.extend(self.alternatives(a, b, scope));
            found.extend(self.items(a, b, scope));
        }
        let keys: BTreeSet<&String> = a.words.keys().chain(b.words.keys()).collect();
        for key in keys {
            let (before, after) = (a.get(key), b.get(key));
            let docs = DOCS.contains(&key.as_str()) || key.starts_with("x-");
            if before == after && (docs || key != "not") {
                continue;
            }
            let at = pointer_step("", key);
            let change = match key.as_str() {
                key if super::value::KEYWORDS.contains(&key) || super::object::KEYWORDS.contains(&key) => {
                    continue;
                }
                key if CHOICE.contains(&key) => continue,
                "type" | "items" => continue,
                "not" => match (before, after) {
                    (None, _) => Change::NotAdded,
                    (_, None) => Change::NotRemoved,
                    (Some(before), Some(after)) => {
                        let inside = self.schema(before, after, scope);
                        if inside.iter().all(|one| one.verdict() == Verdict::Docs) {
                            found.extend(under(&at, None, inside));
                            continue;
                        }
                        Change::NotChanged
                    }
                },
                "default" => match (before, after) {
                    (None, _) => Change::DefaultAdded,
                    (_, None) => Change::DefaultRemoved,
                    _ => Change::DefaultChanged,
                },
                "nullable" if is_true(after) => Change::NullAllowed,
                "nullable" => Change::NullForbidden,
                "deprecated" if is_true(after) => Change::Deprecated,
                "deprecated" => Change::Undeprecated,
                "$ref" => Change::ReferenceChanged,
                "$invalid" => Change::SchemaChanged,
                "xml" => Change::XmlChanged,
                _ if docs => Change::Documentation,
                _ if another_type => continue,
                _ => Change::KeywordChanged,
            };
            found.push(Found::new(change, scope, at).values(before, after));
        }
        found
    }

    fn items(&self, a: &Flat, b: &Flat, scope: Scope) -> Vec<Found> {
        let any = json!({});
        match (a.get("items"), b.get("items")) {
            (None, None) => Vec::new(),
            (before, after) => {
                let inside = self.schema(before.unwrap_or(&any), after.unwrap_or(&any), scope);
                under("/items", None, inside)
            }
        }
    }

    /// A schema that was added to `allOf` or removed from it. Without an effect after flattening, only the
    /// spelling changed.
    fn all_of(&self, old: &Value, new: &Value, found: &[Found], scope: Scope) -> Vec<Found> {
        // Other fields are judged exactly.
        let exact = |change| matches!(change, Change::FreeFieldsAllowed | Change::FreeFieldsForbidden);
        if found.iter().all(|one| one.verdict() == Verdict::Docs || exact(one.change)) {
            return Vec::new();
        }
        let (old, new) = match (old.get("$ref"), new.get("$ref")) {
            (Some(_), Some(_)) => (follow(self.old, old).0, follow(self.new, new).0),
            _ => (old, new),
        };
        let (Some(before), Some(after)) = (conjuncts(old), conjuncts(new)) else { return Vec::new() };
        if old.get("allOf").is_none() && new.get("allOf").is_none() {
            return Vec::new();
        }
        let only = |these: &[&Value], those: &[&Value]| -> Vec<usize> {
            let first = |index: &usize| !these[..*index].contains(&these[*index]);
            (0..these.len()).filter(first).filter(|index| !those.contains(&these[*index])).collect()
        };
        let (gone, came) = (only(&before, &after), only(&after, &before));
        // As many as before: they were edited.
        let added = came.iter().skip(gone.len());
        let removed = gone.iter().skip(came.len());
        let change = |change, index: &usize| Found::new(change, scope, format!("/allOf/{index}"));
        added
            .map(|index| change(Change::AllOfAdded, index).values(None, Some(after[*index])))
            .chain(
                removed.map(|index| change(Change::AllOfRemoved, index).values(Some(before[*index]), None)),
            )
            .collect()
    }
}

/// The schemas that a value must fit, if the schema is a reference or has an `allOf`.
fn conjuncts(schema: &Value) -> Option<Vec<&Value>> {
    match schema.get("allOf") {
        Some(all) => Some(elements(Some(all)).collect()),
        None => schema.get("$ref").map(|_| vec![schema]),
    }
}

pub(super) fn has_alternatives(flat: &Flat) -> bool {
    flat.get("oneOf").is_some() || flat.get("anyOf").is_some()
}

/// The keyword or field that a pointer starts with, as in [`Flat::origins`].
fn place(at: &str) -> String {
    let mut steps = at.split('/').skip(1);
    let first = steps.next().unwrap_or_default();
    match (first, steps.next()) {
        ("properties" | "required", Some(name)) => {
            format!("properties/{}", name.replace("~1", "/").replace("~0", "~"))
        }
        _ => first.to_owned(),
    }
}

/// The changes of the allowed types.
fn types(a: &Flat, b: &Flat, scope: Scope) -> Vec<Found> {
    let (before, after) = (a.types(), b.types());
    let found = |change| Found::new(change, scope, "/type").values(a.get("type"), b.get("type"));
    let (before, after) = match (before, after) {
        (None, None) => return Vec::new(),
        (None, Some(_)) => return vec![found(Change::TypeNarrowed)],
        (Some(_), None) => return vec![found(Change::TypeWidened)],
        (Some(before), Some(after)) => (before, after),
    };
    let mut changes = Vec::new();
    match (before.contains(&"null"), after.contains(&"null")) {
        (false, true) => changes.push(Found::new(Change::NullAllowed, scope, "/nullable")),
        (true, false) => changes.push(Found::new(Change::NullForbidden, scope, "/nullable")),
        _ => {}
    }
    let not_null = |types: &[&str]| -> Vec<String> {
        types.iter().filter(|name| **name != "null").map(|name| (*name).to_owned()).collect()
    };
    let allows = |types: &[String], name: &String| {
        types.contains(name) || (name == "integer" && types.iter().any(|name| name == "number"))
    };
    let (before, after) = (not_null(&before), not_null(&after));
    let wider = after.iter().any(|name| !allows(&before, name));
    let narrower = before.iter().any(|name| !allows(&after, name));
    // What is left of the old types.
    let common =
        before.iter().any(|name| allows(&after, name)) || after.iter().any(|name| allows(&before, name));
    match (wider, narrower) {
        (false, false) => {}
        (true, false) => changes.push(found(Change::TypeWidened)),
        (false, true) => changes.push(found(Change::TypeNarrowed)),
        (true, true) if common => {
            changes.push(found(Change::TypeWidened));
            changes.push(found(Change::TypeNarrowed));
        }
        (true, true) => changes.push(found(Change::TypeChanged)),
    }
    changes
}
