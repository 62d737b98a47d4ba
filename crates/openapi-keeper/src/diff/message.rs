//! Compares what carries schemas: bodies, responses, headers and media types.

use serde_json::{Value, json};

use super::{
    differ::{Differ, Found, follow, members_of_both, under},
    rules::{Change, Scope},
};
use crate::openapi::{is_true, members, pointer_step};

impl Differ<'_> {
    /// A body: its media types, and whether it is required.
    pub(super) fn body(&self, old: Option<&Value>, new: Option<&Value>, scope: Scope) -> Vec<Found> {
        const AT: &str = "/requestBody";
        let whole = |change| vec![Found::new(change, scope, AT)];
        let (old, new) = match (old, new) {
            (None, None) => return Vec::new(),
            (Some(_), None) => return whole(Change::BodyRemoved),
            (None, Some(new)) if is_true(follow(self.new, new).0.get("required")) => {
                return whole(Change::RequiredBodyAdded);
            }
            (None, Some(_)) => return whole(Change::BodyAdded),
            (Some(old), Some(new)) => (old, new),
        };
        let ((old, _), (new, component)) = (follow(self.old, old), follow(self.new, new));
        let mut found = Vec::new();
        match (is_true(old.get("required")), is_true(new.get("required"))) {
            (false, true) => found.push(Found::new(Change::BodyBecameRequired, scope, "/required")),
            (true, false) => found.push(Found::new(Change::BodyBecameOptional, scope, "/required")),
            _ => {}
        }
        found.extend(self.content(old.get("content"), new.get("content"), scope));
        found.extend(documentation(old, new, &["required", "content"], Change::Documentation, scope));
        under(AT, component, found)
    }

    /// The media types of a body, response, parameter or header.
    pub(super) fn content(&self, old: Option<&Value>, new: Option<&Value>, scope: Scope) -> Vec<Found> {
        let mut found = Vec::new();
        let (mut gone, mut came) = (Vec::new(), Vec::new());
        for (name, before, after) in members_of_both(old, new) {
            match (before, after) {
                (Some(before), Some(after)) => found.extend(self.media_type(before, after, name, scope)),
                (Some(before), None) => gone.push((name, before)),
                (None, Some(after)) => came.push((name, after)),
                (None, None) => {}
            }
        }
        gone.retain(|(name, before)| {
            let same = came.iter().position(|(other, _)| respelled(name, other).is_some());
            let Some(index) = same else { return true };
            let (other, after) = came.remove(index);
            let change = respelled(name, other).unwrap_or(Change::MediaTypeRespelled);
            found.push(Found::new(change, scope, pointer_step("/content", other)));
            found.extend(self.media_type(before, after, other, scope));
            false
        });
        let each = |change| {
            move |(name, _): &(&str, &Value)| Found::new(change, scope, pointer_step("/content", name))
        };
        found.extend(gone.iter().map(each(Change::MediaTypeRemoved)));
        found.extend(came.iter().map(each(Change::MediaTypeAdded)));
        found
    }

    fn media_type(&self, old: &Value, new: &Value, name: &str, scope: Scope) -> Vec<Found> {
        if !self.differ(Some(old), Some(new)) {
            return Vec::new();
        }
        let mut found = self.carried(old, new, scope);
        if old.get("encoding") != new.get("encoding") {
            let changed = Found::new(Change::EncodingChanged, scope, "/encoding");
            found.push(changed.values(old.get("encoding"), new.get("encoding")));
        }
        found.extend(documentation(old, new, &["schema", "encoding"], Change::Documentation, scope));
        under(&pointer_step("/content", name), None, found)
    }

    /// The schema of a media type, parameter or header. Without one, every value is allowed.
    pub(super) fn carried(&self, old: &Value, new: &Value, scope: Scope) -> Vec<Found> {
        let any = json!({});
        let schema = |owner: &Value| owner.get("schema").cloned().unwrap_or_else(|| any.clone());
        under("/schema", None, self.schema(&schema(old), &schema(new), scope))
    }

    /// The responses of an operation. `scope` is the direction of the responses.
    pub(super) fn responses(&self, old: Option<&Value>, new: Option<&Value>, scope: Scope) -> Vec<Found> {
        let mut found = Vec::new();
        for (status, before, after) in members_of_both(old, new) {
            let at = pointer_step("/responses", status);
            let success = status.starts_with(['1', '2', '3']);
            let change = match (before, after) {
                (Some(before), Some(after)) => {
                    found.extend(self.response(before, after, &at, scope));
                    continue;
                }
                (Some(before), None) => match covering(new, status) {
                    Some(range) => {
                        found.extend(self.response(before, range, &at, scope));
                        Change::StatusCovered
                    }
                    None if has_member_of(new, status) => Change::StatusNarrowed,
                    None if success => Change::SuccessRemoved,
                    None => Change::FailureRemoved,
                },
                (_, after) => match (covering(old, status), after) {
                    (Some(range), Some(after)) => {
                        found.extend(self.response(range, after, &at, scope));
                        continue;
                    }
                    _ if success => Change::SuccessAdded,
                    _ => Change::FailureAdded,
                },
            };
            found.push(Found::new(change, scope, at));
        }
        found
    }

    fn response(&self, old: &Value, new: &Value, at: &str, scope: Scope) -> Vec<Found> {
        if !self.differ(Some(old), Some(new)) {
            return Vec::new();
        }
        let ((old, _), (new, component)) = (follow(self.old, old), follow(self.new, new));
        let mut found = self.content(old.get("content"), new.get("content"), scope);
        found.extend(self.headers(old.get("headers"), new.get("headers"), scope));
        found.extend(documentation(old, new, &["content", "headers"], Change::Documentation, scope));
        under(at, component, found)
    }

    fn headers(&self, old: Option<&Value>, new: Option<&Value>, scope: Scope) -> Vec<Found> {
        // Case has no meaning, and `Content-Type` is described by the media types.
        let lower = |headers: Option<&Value>| -> Value {
            let all = members(headers).map(|(name, header)| (name.to_lowercase(), header.clone()));
            all.filter(|(name, _)| name != "content-type").collect::<serde_json::Map<_, _>>().into()
        };
        let (old, new) = (lower(old), lower(new));
        let mut found = Vec::new();
        for (name, before, after) in members_of_both(Some(&old), Some(&new)) {
            let at = pointer_step("/headers", name);
            let (before, after) = match (before, after) {
                (Some(before), Some(after)) => (before, after),
                (Some(_), None) => {
                    found.push(Found::new(Change::HeaderRemoved, scope, at));
                    continue;
                }
                _ => {
                    found.push(Found::new(Change::HeaderAdded, scope, at));
                    continue;
                }
            };
            let ((before, _), (after, component)) = (follow(self.old, before), follow(self.new, after));
            let mut inside = Vec::new();
            match (is_true(before.get("required")), is_true(after.get("required"))) {
                (false, true) => inside.push(Found::new(Change::HeaderBecameRequired, scope, "/required")),
                (true, false) => inside.push(Found::new(Change::HeaderBecameOptional, scope, "/required")),
                _ => {}
            }
            inside.extend(self.parameter_schema(before, after, "simple", scope));
            found.extend(under(&at, component, inside));
        }
        found
    }
}

/// The range of a status, such as `2XX`, or `default`, if the responses have it.
fn covering<'a>(responses: Option<&'a Value>, status: &str) -> Option<&'a Value> {
    let responses = responses?;
    let range = responses.get(format!("{}XX", status.get(..1)?));
    // Beside a status of success, `default` means errors.
    let success = |status: &str| status.starts_with(['1', '2', '3']);
    let other = !success(status) || !members(Some(responses)).any(|(status, _)| success(status));
    range.or_else(|| responses.get("default").filter(|_| other))
}

/// Whether the responses have a status of this range.
fn has_member_of(responses: Option<&Value>, range: &str) -> bool {
    let Some(class) = range.strip_suffix("XX") else { return false };
    members(responses).any(|(status, _)| status.starts_with(class))
}

/// What follows if one media type takes the place of another: the same one, or a range.
fn respelled(old: &str, new: &str) -> Option<Change> {
    let essence = |name: &str| name.split(';').next().unwrap_or_default().trim().to_lowercase();
    let (old, new) = (essence(old), essence(new));
    let covers = |range: &str, name: &str| {
        range == "*/*" || range.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix))
    };
    match () {
        () if old == new => Some(Change::MediaTypeRespelled),
        () if covers(&new, &old) => Some(Change::MediaTypeWidened),
        () if covers(&old, &new) => Some(Change::MediaTypeNarrowed),
        () => None,
    }
}

/// The changed fields that have no rule of their own: they document, or generate code.
pub(super) fn documentation(
    old: &Value,
    new: &Value,
    judged: &[&str],
    change: Change,
    scope: Scope,
) -> Vec<Found> {
    members_of_both(Some(old), Some(new))
        .into_iter()
        .filter(|(key, before, after)| before != after && !judged.contains(key))
        .map(|(key, before, after)| Found::new(change, scope, pointer_step("", key)).values(before, after))
        .collect()
}
