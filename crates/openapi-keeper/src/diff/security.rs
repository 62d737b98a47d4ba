//! Compares how callers authenticate. The alternatives of an operation are OR-ed, and what an alternative
//! lists is AND-ed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    differ::{Differ, Found, follow, members_of_both, under},
    message::documentation,
    rules::{Change, Scope},
};
use crate::openapi::{elements, members, pointer_step};

const SCHEMES: &str = "/components/securitySchemes";

/// One way to authenticate: the schemes with their scopes.
type Alternative = BTreeMap<String, BTreeSet<String>>;

impl Differ<'_> {
    /// The changes of the alternatives of an operation.
    pub(super) fn security(&self, old: &Value, new: &Value) -> Vec<Found> {
        let inherited = old.get("security").is_none() && new.get("security").is_none();
        let was = alternatives(old.get("security").or_else(|| self.old.get("security")));
        let is = alternatives(new.get("security").or_else(|| self.new.get("security")));
        under("/security", inherited.then_some("/security"), compare(&was, &is))
    }

    /// The changes of the schemes themselves.
    pub(super) fn security_schemes(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for (name, before, after) in members_of_both(self.old.pointer(SCHEMES), self.new.pointer(SCHEMES)) {
            let at = pointer_step("", name);
            let whole = |change| Found::new(change, Scope::Operation, &at[..]);
            match (before, after) {
                (Some(before), Some(after)) => {
                    let (before, after) = (follow(self.old, before).0, follow(self.new, after).0);
                    found.extend(under(&at, None, scheme(before, after)));
                }
                (Some(_), None) => found.push(whole(Change::SchemeRemoved)),
                _ => found.push(whole(Change::SchemeAdded)),
            }
        }
        under(SCHEMES, None, found)
    }
}

/// The alternatives in a fixed order; none if no credential is needed.
fn alternatives(security: Option<&Value>) -> Vec<Alternative> {
    let mut all: Vec<Alternative> = elements(security)
        .map(|alternative| {
            members(Some(alternative))
                .map(|(scheme, scopes)| {
                    let scopes = elements(Some(scopes)).filter_map(Value::as_str).map(str::to_owned);
                    (scheme.clone(), scopes.collect())
                })
                .collect()
        })
        .collect();
    all.sort();
    all.dedup();
    // A single alternative without a scheme needs no credential either.
    if all.iter().all(BTreeMap::is_empty) { Vec::new() } else { all }
}

fn compare(was: &[Alternative], is: &[Alternative]) -> Vec<Found> {
    let found = |change, alternative: &Alternative| {
        let name = alternative.keys().map(String::as_str).collect::<Vec<_>>().join(" and ");
        let at = pointer_step("", if name.is_empty() { "none" } else { &name });
        Found::new(change, Scope::Operation, at)
    };
    let whole = |change| vec![Found::new(change, Scope::Operation, "")];
    match (was.is_empty(), is.is_empty()) {
        (true, true) => return Vec::new(),
        (true, false) if !is.iter().any(BTreeMap::is_empty) => return whole(Change::SecurityAdded),
        (false, true) => return whole(Change::SecurityRemoved),
        _ => {}
    }
    let mut gone: Vec<&Alternative> = was.iter().filter(|one| !is.contains(one)).collect();
    let mut came: Vec<&Alternative> = is.iter().filter(|one| !was.contains(one)).collect();
    let mut changes = Vec::new();
    // Whether who has the credentials of one alternative is accepted by another one.
    let enough = |has: &Alternative, needs: &Alternative| {
        needs.iter().all(|(scheme, scopes)| has.get(scheme).is_some_and(|has| scopes.is_subset(has)))
    };
    let accepted = |has: &Alternative| is.iter().any(|needs| enough(has, needs));
    // The same schemes with other scopes, or some schemes more or less.
    type Related = fn(&Alternative, &Alternative) -> bool;
    let related: [Related; 2] = [
        |a, b| a.keys().eq(b.keys()),
        |a, b| a.keys().all(|key| b.contains_key(key)) || b.keys().all(|key| a.contains_key(key)),
    ];
    for related in related {
        gone.retain(|old| {
            let Some(index) = came.iter().position(|new| related(old, new)) else { return true };
            let new = came.remove(index);
            let same_schemes = old.keys().eq(new.keys());
            let change = match (accepted(old), same_schemes) {
                (true, true) => Change::ScopeRemoved,
                (true, false) => Change::SecurityRelaxed,
                (false, true) => Change::ScopeAdded,
                (false, false) => Change::SecurityTightened,
            };
            changes.push(found(change, new));
            false
        });
    }
    for old in gone {
        let change = if accepted(old) { Change::SecurityRelaxed } else { Change::AlternativeSecurityRemoved };
        changes.push(found(change, old));
    }
    changes.extend(came.into_iter().map(|new| found(Change::AlternativeSecurityAdded, new)));
    changes
}

/// The changes of one scheme.
fn scheme(old: &Value, new: &Value) -> Vec<Found> {
    const SENT: [&str; 5] = ["type", "in", "name", "scheme", "openIdConnectUrl"];
    let mut found = Vec::new();
    let change = |change, at: String| Found::new(change, Scope::Operation, at);
    for (key, before, after) in members_of_both(Some(old), Some(new)).into_iter().filter(|(_, a, b)| a != b) {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_lowercase);
        // The name of an HTTP scheme or header is the same in any case.
        let header = key == "scheme" || (key == "name" && old.get("in") == Some(&"header".into()));
        if SENT.contains(&key) && !(header && text(before) == text(after)) {
            found.push(change(Change::SchemeChanged, pointer_step("", key)).values(before, after));
        }
    }
    for (name, before, after) in members_of_both(old.get("flows"), new.get("flows")) {
        let at = pointer_step("/flows", name);
        match (before, after) {
            (Some(before), Some(after)) => {
                for (key, before, after) in members_of_both(Some(before), Some(after)) {
                    let at = pointer_step(&at, key);
                    if key != "scopes" {
                        if before != after && !key.starts_with("x-") {
                            found.push(change(Change::SchemeChanged, at).values(before, after));
                        }
                        continue;
                    }
                    for (scope, before, after) in members_of_both(before, after) {
                        let at = pointer_step(&at, scope);
                        match (before, after) {
                            (Some(a), Some(b)) if a == b => {}
                            (Some(_), Some(_)) => found.push(change(Change::OperationDocumentation, at)),
                            (Some(_), None) => found.push(change(Change::FlowRemoved, at)),
                            _ => found.push(change(Change::FlowAdded, at)),
                        }
                    }
                }
            }
            (Some(_), None) => found.push(change(Change::FlowRemoved, at)),
            _ => found.push(change(Change::FlowAdded, at)),
        }
    }
    let judged = [&SENT[..], &["flows"]].concat();
    found.extend(documentation(old, new, &judged, Change::OperationDocumentation, Scope::Operation));
    found
}
