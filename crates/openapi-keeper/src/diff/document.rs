//! Compares whole documents: paths, operations, servers and callbacks.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Finding,
    differ::{Collector, Differ, Found, follow, members_of_both, under},
    message::documentation,
    parameter::parameters,
    rules::{Change, Scope},
};
use crate::openapi::{METHODS, elements, is_true, members, pointer_step};

/// A path of one document.
struct Path<'a> {
    text: &'a str,
    item: &'a Value,
    names: Vec<&'a str>,
}

impl Differ<'_> {
    pub(super) fn document(&self) -> Vec<Finding> {
        let mut collector = Collector::default();
        for key in ["openapi", "info"] {
            let (old, new) = (self.old.get(key), self.new.get(key));
            for (name, before, after) in members_of_both(old, new).into_iter().filter(|(_, a, b)| a != b) {
                let at = pointer_step(&format!("/{key}"), name);
                let changed = Found::new(Change::OperationDocumentation, Scope::Operation, at);
                collector.add(vec![changed.values(before, after)]);
            }
            if !old.is_some_and(Value::is_object) && old != new {
                let changed = Found::new(Change::OperationDocumentation, Scope::Operation, format!("/{key}"));
                collector.add(vec![changed.values(old, new)]);
            }
        }
        self.paths(self.old.get("paths"), self.new.get("paths"), "/paths", false, &mut collector);
        self.paths(self.old.get("webhooks"), self.new.get("webhooks"), "/webhooks", true, &mut collector);
        collector.add(self.security_schemes());
        collector.finish()
    }

    /// Paths, webhooks or a callback. `called` means that the service is the caller.
    fn paths(
        &self,
        old: Option<&Value>,
        new: Option<&Value>,
        at: &str,
        called: bool,
        collector: &mut Collector,
    ) {
        let (old, new) = (by_template(self.old, old), by_template(self.new, new));
        let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let nothing = Path { text: "", item: &Value::Null, names: Vec::new() };
        let (added, removed) = if called {
            (Change::CallbackAdded, Change::CallbackRemoved)
        } else {
            (Change::OperationAdded, Change::OperationRemoved)
        };
        for key in keys {
            let (a, b) = (old.get(key), new.get(key));
            let at = pointer_step(at, b.or(a).map_or(key, |path| path.text));
            let (a, b) = (a.unwrap_or(&nothing), b.unwrap_or(&nothing));
            for method in METHODS {
                let at = format!("{at}/{method}");
                let whole = |change| vec![Found::new(change, Scope::Operation, &at[..])];
                match (a.item.get(method), b.item.get(method)) {
                    (None, None) => {}
                    (Some(_), None) => collector.add(whole(removed)),
                    (None, Some(_)) => collector.add(whole(added)),
                    (Some(before), Some(after)) => {
                        self.operation((a, before), (b, after), &at, called, collector);
                    }
                }
            }
        }
    }

    fn operation(
        &self,
        old: (&Path<'_>, &Value),
        new: (&Path<'_>, &Value),
        at: &str,
        called: bool,
        collector: &mut Collector,
    ) {
        let ((old_path, old), (new_path, new)) = (old, new);
        let mut add = |found| collector.add(under(at, None, found));
        let (sent, received) =
            if called { (Scope::Response, Scope::Request) } else { (Scope::Request, Scope::Response) };
        add(self.parameters((old_path, old), (new_path, new), sent));
        add(self.body(old.get("requestBody"), new.get("requestBody"), sent));
        add(self.responses(old.get("responses"), new.get("responses"), received));
        if !called {
            add(self.security(old, new));
            add(self.servers([self.old, old_path.item, old], [self.new, new_path.item, new]));
        }
        let whole = |change, at| Found::new(change, Scope::Operation, at);
        match (is_true(old.get("deprecated")), is_true(new.get("deprecated"))) {
            (false, true) => add(vec![whole(Change::OperationDeprecated, "/deprecated")]),
            (true, false) => add(vec![whole(Change::OperationUndeprecated, "/deprecated")]),
            _ => {}
        }
        if old.get("operationId") != new.get("operationId") {
            let changed = whole(Change::OperationIdChanged, "/operationId");
            add(vec![changed.values(old.get("operationId"), new.get("operationId"))]);
        }
        const JUDGED: [&str; 8] = [
            "parameters",
            "requestBody",
            "responses",
            "security",
            "servers",
            "deprecated",
            "operationId",
            "callbacks",
        ];
        add(documentation(old, new, &JUDGED, Change::OperationDocumentation, Scope::Operation));
        self.callbacks(old.get("callbacks"), new.get("callbacks"), at, called, collector);
    }

    fn callbacks(
        &self,
        old: Option<&Value>,
        new: Option<&Value>,
        at: &str,
        called: bool,
        collector: &mut Collector,
    ) {
        for (name, before, after) in members_of_both(old, new) {
            let at = pointer_step(&format!("{at}/callbacks"), name);
            let change = match (before, after) {
                (Some(before), Some(after)) => {
                    let (before, after) = (follow(self.old, before).0, follow(self.new, after).0);
                    self.paths(Some(before), Some(after), &at, !called, collector);
                    continue;
                }
                (Some(_), None) => Change::CallbackRemoved,
                _ => Change::CallbackAdded,
            };
            collector.add(vec![Found::new(change, Scope::Operation, at)]);
        }
    }

    fn parameters(&self, old: (&Path<'_>, &Value), new: (&Path<'_>, &Value), scope: Scope) -> Vec<Found> {
        let before = parameters(self.old, old.0.item, old.1, &old.0.names);
        let after = parameters(self.new, new.0.item, new.1, &new.0.names);
        let (before, after) = (Value::Object(before), Value::Object(after));
        let mut found = Vec::new();
        for (key, before, after) in members_of_both(Some(&before), Some(&after)) {
            let renamed = key.starts_with("path ") && old.0.names != new.0.names;
            if !renamed && !self.differ(before, after) {
                continue;
            }
            let name = key.strip_prefix("path ").and_then(|index| index.parse::<usize>().ok());
            let shown = name.and_then(|index| new.0.names.get(index)).map(|name| format!("path {name}"));
            let at = pointer_step("/parameters", shown.as_deref().unwrap_or(key));
            let change = match (before, after) {
                (Some(before), Some(after)) => {
                    found.extend(self.parameter(before, after, &at, scope));
                    continue;
                }
                (Some(_), None) => Change::ParameterRemoved,
                (None, after) => {
                    let after = after.map(|after| follow(self.new, after).0);
                    let required = after.is_some_and(|after| is_true(after.get("required")));
                    if required { Change::RequiredParameterAdded } else { Change::ParameterAdded }
                }
            };
            found.push(Found::new(change, scope, at).values(before, after));
        }
        found
    }

    /// The servers of an operation; `owners` are the document, the path and the operation.
    fn servers(&self, old: [&Value; 3], new: [&Value; 3]) -> Vec<Found> {
        let servers = |owners: [&Value; 3]| -> (Value, bool) {
            let own = owners.iter().rev().find_map(|owner| owner.get("servers"));
            let inherited = owners[1].get("servers").is_none() && owners[2].get("servers").is_none();
            let by_url = elements(own).map(|server| {
                let url = server.get("url").and_then(Value::as_str).unwrap_or_default();
                (url.trim_end_matches('/').to_owned(), server.clone())
            });
            (Value::Object(by_url.collect::<Map<_, _>>()), inherited)
        };
        let ((old, inherited), (new, also)) = (servers(old), servers(new));
        let mut found = Vec::new();
        for (url, before, after) in members_of_both(Some(&old), Some(&new)) {
            if before == after {
                continue;
            }
            let at = pointer_step("", url);
            let (before, after) = match (before, after) {
                (Some(before), Some(after)) => (before, after),
                (Some(_), None) => {
                    found.push(Found::new(Change::ServerRemoved, Scope::Operation, at));
                    continue;
                }
                _ => {
                    found.push(Found::new(Change::ServerAdded, Scope::Operation, at));
                    continue;
                }
            };
            let mut inside = documentation(
                before,
                after,
                &["url", "variables"],
                Change::OperationDocumentation,
                Scope::Operation,
            );
            inside.extend(server_variables(before.get("variables"), after.get("variables")));
            found.extend(under(&at, None, inside));
        }
        under("/servers", (inherited && also).then_some("/servers"), found)
    }
}

fn server_variables(old: Option<&Value>, new: Option<&Value>) -> Vec<Found> {
    let mut found = Vec::new();
    for (name, before, after) in members_of_both(old, new).into_iter().filter(|(_, a, b)| a != b) {
        let at = pointer_step("/variables", name);
        let values = |variable: Option<&Value>| -> Option<Vec<Value>> {
            let values: Vec<_> = elements(variable?.get("enum")).cloned().collect();
            (!values.is_empty()).then_some(values)
        };
        let default =
            |variable: Option<&Value>| variable.and_then(|variable| variable.get("default")).cloned();
        let keeps_values = match (values(before), values(after)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(was), Some(is)) => was.iter().all(|value| is.contains(value)),
        };
        let same = values(before) == values(after) && default(before) == default(after);
        let change = match () {
            () if same && before.is_some() && after.is_some() => Change::OperationDocumentation,
            () if keeps_values && default(before) == default(after) => Change::ServerVariableWidened,
            () => Change::ServerChanged,
        };
        found.push(Found::new(change, Scope::Operation, at).values(before, after));
    }
    found
}

/// The paths by their text without the names of parameters, which are not part of a URL.
fn by_template<'a>(document: &'a Value, paths: Option<&'a Value>) -> BTreeMap<String, Path<'a>> {
    let mut found = BTreeMap::new();
    for (text, item) in members(paths) {
        let (item, _) = follow(document, item);
        let mut names = Vec::new();
        let mut template = String::new();
        let mut rest = text.as_str();
        // An expression of a callback (`{$request…}`) is not a parameter.
        while let Some((before, after)) = rest.split_once('{').filter(|_| !text.contains("{$")) {
            let Some((name, after)) = after.split_once('}') else { break };
            template = template + before + "{}";
            names.push(name);
            rest = after;
        }
        template += rest;
        let mut key = template;
        // Two paths with one template are ambiguous: both keep their names.
        if found.contains_key(&key) {
            key.clone_from(text);
        }
        found.insert(key, Path { text, item, names });
    }
    found
}
