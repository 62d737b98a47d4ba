//! What the parts of the comparison share: both documents, which components differ, and what was compared
//! before.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use serde_json::{Map, Value};

use super::{
    Finding,
    rules::{Change, Scope, Verdict},
};
use crate::openapi::resolve;

/// A change, found relative to the place where the comparison started.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) change: Change,
    pub(super) scope: Scope,
    pub(super) at: String,
    /// The pointer of the change within the component that contains it.
    pub(super) component: Option<String>,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

impl Found {
    pub(super) fn new(change: Change, scope: Scope, at: impl Into<String>) -> Self {
        Self { change, scope, at: at.into(), component: None, before: None, after: None }
    }

    pub(super) fn values(mut self, before: Option<&Value>, after: Option<&Value>) -> Self {
        (self.before, self.after) = (before.cloned(), after.cloned());
        self
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.change.rule(self.scope).verdict
    }
}

/// Moves findings below a place. `component` is the component that this place refers to.
pub(super) fn under(prefix: &str, component: Option<&str>, mut found: Vec<Found>) -> Vec<Found> {
    for one in &mut found {
        if let (None, Some(component)) = (&one.component, component) {
            one.component = Some(format!("{component}{}", one.at));
        }
        one.at.insert_str(0, prefix);
    }
    found
}

/// Findings of two compared schemas by their text and direction; `None` while they are compared.
type Known = HashMap<(String, String, Scope), Option<Rc<Vec<Found>>>>;

/// The comparison of two documents.
pub(super) struct Differ<'a> {
    pub(super) old: &'a Value,
    pub(super) new: &'a Value,
    /// The references whose targets differ, or contain such a reference.
    changed: HashSet<&'a str>,
    pub(super) known: RefCell<Known>,
    /// The number of schemas around the current one.
    pub(super) depth: Cell<usize>,
}

impl<'a> Differ<'a> {
    pub(super) fn new(old: &'a Value, new: &'a Value) -> Self {
        let changed = changed(old, new);
        Self { old, new, changed, known: RefCell::default(), depth: Cell::new(0) }
    }

    /// Whether two values differ, or refer to something that differs.
    pub(super) fn differ(&self, old: Option<&Value>, new: Option<&Value>) -> bool {
        old != new || old.is_some_and(|old| self.mentions_a_change(old))
    }

    fn mentions_a_change(&self, value: &Value) -> bool {
        match value {
            Value::Object(object) => object.iter().any(|(key, value)| match value {
                Value::String(target) => key == "$ref" && self.changed.contains(target.as_str()),
                value => self.mentions_a_change(value),
            }),
            Value::Array(list) => list.iter().any(|value| self.mentions_a_change(value)),
            _ => false,
        }
    }
}

/// The references whose targets differ between two documents, directly or through other references.
fn changed<'a>(old: &'a Value, new: &'a Value) -> HashSet<&'a str> {
    let mut targets = BTreeSet::new();
    for document in [old, new] {
        references(document, &mut targets);
    }
    let mut changed = HashSet::new();
    let mut users: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut open = Vec::new();
    for target in targets {
        let at = |document: &'a Value| target.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        let (before, after) = (at(old), at(new));
        if before != after {
            open.push(target);
        }
        let mut inside = BTreeSet::new();
        for value in before.into_iter().chain(after) {
            references(value, &mut inside);
        }
        for used in inside {
            users.entry(used).or_default().push(target);
        }
    }
    while let Some(target) = open.pop() {
        if changed.insert(target) {
            open.extend(users.get(target).into_iter().flatten());
        }
    }
    changed
}

/// All references within a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    if let Some(target) = value.get("$ref").and_then(Value::as_str) {
        found.insert(target);
    }
    match value {
        Value::Object(object) => object.values().for_each(|value| references(value, found)),
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// A value after its references were followed, and the pointer of the component.
pub(super) fn follow<'a>(document: &'a Value, value: &'a Value) -> (&'a Value, Option<&'a str>) {
    let resolved = resolve(document, value);
    let component = resolved.followed.last().map(|target| target.trim_start_matches('#'));
    (resolved.value, component)
}

/// The members of two objects, with those that are equal.
pub(super) fn members_of_both<'a>(
    old: Option<&'a Value>,
    new: Option<&'a Value>,
) -> Vec<(&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let object = |value: Option<&'a Value>| value.and_then(Value::as_object);
    let (old, new) = (object(old), object(new));
    let keys: BTreeSet<&str> = old.into_iter().chain(new).flat_map(Map::keys).map(String::as_str).collect();
    keys.into_iter()
        .map(|key| (key, old.and_then(|old| old.get(key)), new.and_then(|new| new.get(key))))
        .collect()
}

/// Collects findings; a change of a component is one finding with several places.
#[derive(Default)]
pub(super) struct Collector {
    findings: Vec<Finding>,
    by_place: BTreeMap<(Change, Scope, String), usize>,
}

impl Collector {
    pub(super) fn add(&mut self, found: Vec<Found>) {
        for one in found {
            let place = one.component.clone().unwrap_or_else(|| one.at.clone());
            let known = self.by_place.entry((one.change, one.scope, place)).or_insert(self.findings.len());
            if let Some(finding) = self.findings.get_mut(*known) {
                finding.places += 1;
                continue;
            }
            let rule = one.change.rule(one.scope);
            self.findings.push(Finding {
                rule: rule.name,
                verdict: rule.verdict,
                pointer: one.at,
                component: one.component,
                places: 1,
                what: rule.what,
                why: rule.why,
                before: one.before,
                after: one.after,
                accepted: None,
            });
        }
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        self.findings
    }
}
