//! Compares the keywords that restrict a single value: lists of values, bounds, format and pattern.

use serde_json::Value;

use super::{
    differ::Found,
    flat::Flat,
    rules::{Change, Scope},
};
use crate::openapi::{elements, is_true};

/// The keywords that [`compare`] judges.
pub(super) const KEYWORDS: [&str; 16] = [
    "enum",
    "x-extensible-enum",
    "format",
    "pattern",
    "uniqueItems",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "maxProperties",
    "minProperties",
];

/// A bound, and the changes of it.
struct Bound {
    keyword: &'static str,
    /// The keyword that excludes the bound itself.
    exclusive: &'static str,
    upper: bool,
    added: Change,
    removed: Change,
    increased: Change,
    decreased: Change,
}

/// All bounds.
const BOUNDS: [Bound; 8] = {
    use Change as C;
    macro_rules! bound {
        ($keyword:literal, $exclusive:literal, $upper:literal, $added:ident, $removed:ident, $up:ident, $down:ident) => {
            Bound {
                keyword: $keyword,
                exclusive: $exclusive,
                upper: $upper,
                added: C::$added,
                removed: C::$removed,
                increased: C::$up,
                decreased: C::$down,
            }
        };
    }
    [
        bound!("maximum", "exclusiveMaximum", true, MaxAdded, MaxRemoved, MaxIncreased, MaxDecreased),
        bound!("minimum", "exclusiveMinimum", false, MinAdded, MinRemoved, MinIncreased, MinDecreased),
        bound!(
            "maxLength",
            "",
            true,
            MaxLengthAdded,
            MaxLengthRemoved,
            MaxLengthIncreased,
            MaxLengthDecreased
        ),
        bound!(
            "minLength",
            "",
            false,
            MinLengthAdded,
            MinLengthRemoved,
            MinLengthIncreased,
            MinLengthDecreased
        ),
        bound!("maxItems", "", true, MaxItemsAdded, MaxItemsRemoved, MaxItemsIncreased, MaxItemsDecreased),
        bound!("minItems", "", false, MinItemsAdded, MinItemsRemoved, MinItemsIncreased, MinItemsDecreased),
        bound!(
            "maxProperties",
            "",
            true,
            MaxPropertiesAdded,
            MaxPropertiesRemoved,
            MaxPropertiesIncreased,
            MaxPropertiesDecreased
        ),
        bound!(
            "minProperties",
            "",
            false,
            MinPropertiesAdded,
            MinPropertiesRemoved,
            MinPropertiesIncreased,
            MinPropertiesDecreased
        ),
    ]
};

/// The changes of all keywords in [`KEYWORDS`].
pub(super) fn compare(a: &Flat, b: &Flat, scope: Scope) -> Vec<Found> {
    let mut found = Vec::new();
    lists(a, b, scope, &mut found);
    for bound in BOUNDS.iter().filter(|bound| restricts(bound.keyword, a, b)) {
        let (was, is) = (bound.of(a), bound.of(b));
        let change = match (was, is) {
            (None, None) => continue,
            (None, Some(_)) => bound.added,
            (Some(_), None) => bound.removed,
            (Some(was), Some(is)) if was < is => bound.increased,
            (Some(was), Some(is)) if was > is => bound.decreased,
            _ => continue,
        };
        let at = format!("/{}", bound.keyword);
        found.push(Found::new(change, scope, at).values(a.get(bound.keyword), b.get(bound.keyword)));
    }
    for (keyword, judge) in [
        ("format", format as fn(_, _) -> _),
        ("pattern", pattern),
        ("multipleOf", multiple),
        ("uniqueItems", unique),
    ] {
        let (before, after) = (a.get(keyword), b.get(keyword));
        if before != after && restricts(keyword, a, b) {
            let at = format!("/{keyword}");
            found.push(Found::new(judge(before, after), scope, at).values(before, after));
        }
    }
    found
}

/// Whether a keyword restricts values of both sides. It has no effect on values of another type, and values of a new
/// type are reported with the types.
fn restricts(keyword: &str, a: &Flat, b: &Flat) -> bool {
    let kinds: &[&str] = match keyword {
        "maximum" | "minimum" | "multipleOf" => &["number", "integer"],
        "maxLength" | "minLength" | "pattern" => &["string"],
        "maxItems" | "minItems" | "uniqueItems" => &["array"],
        "maxProperties" | "minProperties" => &["object"],
        _ => return true,
    };
    [a, b].iter().all(|flat| flat.types().is_none_or(|types| types.iter().any(|name| kinds.contains(name))))
}

impl Bound {
    /// The bound as a number. The second part orders a bound that is excluded before or after itself.
    fn of(&self, flat: &Flat) -> Option<(f64, i8)> {
        let value = flat.get(self.keyword)?.as_f64()?;
        if !is_true(flat.get(self.exclusive)) {
            return Some((value, 0));
        }
        let beside = if self.upper { -1 } else { 1 };
        // The next integer is the same bound.
        if flat.types().is_some_and(|types| types.iter().all(|name| matches!(*name, "integer" | "null"))) {
            let next = if self.upper { (value - 1.0).ceil() } else { (value + 1.0).floor() };
            return Some((next, 0));
        }
        Some((value, beside))
    }
}

fn lists(a: &Flat, b: &Flat, scope: Scope, found: &mut Vec<Found>) {
    for (keyword, added, removed) in [
        ("enum", Change::EnumValueAdded, Change::EnumValueRemoved),
        ("x-extensible-enum", Change::OpenEnumValueAdded, Change::OpenEnumValueRemoved),
    ] {
        let (before, after) = (a.get(keyword), b.get(keyword));
        let at = format!("/{keyword}");
        if keyword == "enum" && before.is_none() != after.is_none() {
            let change = if before.is_none() { Change::EnumAdded } else { Change::EnumRemoved };
            found.push(Found::new(change, scope, at).values(before, after));
            continue;
        }
        let null = |list: Option<&Value>| elements(list).any(Value::is_null);
        let nullable = |flat: &Flat| flat.types().is_none_or(|types| types.contains(&"null"));
        // Otherwise, null is not valid, or is reported with the types.
        if nullable(a) && nullable(b) && null(before) != null(after) {
            let change = if null(after) { Change::NullAllowed } else { Change::NullForbidden };
            found.push(Found::new(change, scope, at.clone()));
        }
        let only = |these: Option<&Value>, those: Option<&Value>| -> Option<Value> {
            let new = elements(these)
                .filter(|value| !value.is_null() && !elements(those).any(|other| other == *value))
                .cloned();
            let new: Vec<Value> = new.collect();
            (!new.is_empty()).then(|| new.into())
        };
        if let Some(values) = only(after, before) {
            found.push(Found::new(added, scope, at.clone()).values(None, Some(&values)));
        }
        if let Some(values) = only(before, after) {
            found.push(Found::new(removed, scope, at).values(Some(&values), None));
        }
    }
}

fn format(before: Option<&Value>, after: Option<&Value>) -> Change {
    /// Formats and those that allow their values as well.
    const WIDER: [(&str, &str); 2] = [("int32", "int64"), ("float", "double")];
    // `password` only tells a form to hide the value.
    let restricting = |value: Option<&Value>| -> Option<String> {
        value.and_then(Value::as_str).filter(|format| *format != "password").map(str::to_owned)
    };
    match (restricting(before), restricting(after)) {
        (None, None) => Change::Documentation,
        (None, Some(_)) => Change::FormatAdded,
        (Some(_), None) => Change::FormatRemoved,
        (Some(before), Some(after)) if WIDER.contains(&(&before, &after)) => Change::FormatWidened,
        (Some(before), Some(after)) if WIDER.contains(&(&after, &before)) => Change::FormatNarrowed,
        _ => Change::FormatChanged,
    }
}

fn pattern(before: Option<&Value>, after: Option<&Value>) -> Change {
    match (before, after) {
        (None, _) => Change::PatternAdded,
        (_, None) => Change::PatternRemoved,
        _ => Change::PatternChanged,
    }
}

fn multiple(before: Option<&Value>, after: Option<&Value>) -> Change {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    let divides = |a: f64, b: f64| ((b / a).round() - b / a).abs() < 1e-9;
    match (before, after, number(before), number(after)) {
        (None, ..) => Change::MultipleOfAdded,
        (_, None, ..) => Change::MultipleOfRemoved,
        (.., Some(was), Some(is)) if divides(was, is) => Change::MultipleOfNarrowed,
        (.., Some(was), Some(is)) if divides(is, was) => Change::MultipleOfWidened,
        _ => Change::MultipleOfChanged,
    }
}

fn unique(_: Option<&Value>, after: Option<&Value>) -> Change {
    if is_true(after) { Change::UniqueItemsAdded } else { Change::UniqueItemsRemoved }
}
