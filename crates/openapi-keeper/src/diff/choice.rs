//! Compares the alternatives of `oneOf` and `anyOf`. They have no names, so they are matched first: by
//! reference, value of the discriminator, title, meaning, and at last by similarity.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    alternatives::{Alternatives, mapping, reference},
    differ::{Differ, Found, under},
    flat::{Flat, both},
    rules::{Change, Scope, Verdict},
    schema::has_alternatives,
};
use crate::openapi::{DOCS, elements};

impl Differ<'_> {
    /// The changes of `oneOf`, `anyOf` and `discriminator`, if both sides or none have alternatives.
    pub(super) fn alternatives(&self, a: &Flat, b: &Flat, scope: Scope) -> Vec<Found> {
        let mut found = Vec::new();
        let list = |flat: &Flat, key: &str| flat.get(key).map(|list| elements(Some(list)).cloned().collect());
        let lists: [Option<Vec<Value>>; 4] =
            [list(a, "oneOf"), list(b, "oneOf"), list(a, "anyOf"), list(b, "anyOf")];
        let mut pairs = Vec::new();
        let mut compare = |before: Vec<Value>, after: Vec<Value>, at_a, at_b| {
            let discriminator = (a.get("discriminator"), b.get("discriminator"));
            let old = Alternatives {
                document: self.old,
                members: before,
                at: at_a,
                discriminator: discriminator.0,
            };
            let new =
                Alternatives { document: self.new, members: after, at: at_b, discriminator: discriminator.1 };
            let (inside, matched) = self.members(&old, &new, scope);
            pairs.extend(matched.iter().map(|(i, j)| {
                (
                    reference(&old.members[*i]).map(str::to_owned),
                    reference(&new.members[*j]).map(str::to_owned),
                )
            }));
            inside
        };
        match lists {
            [Some(before), None, None, Some(after)] => {
                found.push(Found::new(Change::OneOfBecameAnyOf, scope, "/anyOf"));
                found.extend(compare(before, after, "/oneOf", "/anyOf"));
            }
            [None, Some(after), Some(before), None] => {
                found.push(Found::new(Change::AnyOfBecameOneOf, scope, "/oneOf"));
                found.extend(compare(before, after, "/anyOf", "/oneOf"));
            }
            [one_a, one_b, any_a, any_b] => {
                for (before, after, at, added, removed) in [
                    (one_a, one_b, "/oneOf", Change::OneOfAdded, Change::OneOfRemoved),
                    (any_a, any_b, "/anyOf", Change::AnyOfAdded, Change::AnyOfRemoved),
                ] {
                    match (before, after) {
                        (Some(before), Some(after)) => found.extend(compare(before, after, at, at)),
                        (None, Some(_)) => found.push(Found::new(added, scope, at)),
                        (Some(_), None) => found.push(Found::new(removed, scope, at)),
                        (None, None) => {}
                    }
                }
            }
        }
        found.extend(self.discriminator(a, b, &pairs, scope));
        found
    }

    /// Only one side has alternatives: the other side is compared as if it were the only alternative.
    pub(super) fn alternatives_of_one(
        &self,
        old: &Value,
        new: &Value,
        flats: (&Flat, &Flat),
        scope: Scope,
    ) -> Vec<Found> {
        let (a, b) = flats;
        let grouped = if has_alternatives(a) { a } else { b };
        let at = if grouped.get("oneOf").is_some() { "/oneOf" } else { "/anyOf" };
        let unrestricted = |flat: &Flat| flat.words.keys().all(|key| DOCS.contains(&key.as_str()));
        let change = match (has_alternatives(b), at) {
            (true, "/oneOf") => Change::OneOfAdded,
            (true, _) => Change::AnyOfAdded,
            (false, "/oneOf") => Change::OneOfRemoved,
            (false, _) => Change::AnyOfRemoved,
        };
        if unrestricted(a) || unrestricted(b) {
            return vec![Found::new(change, scope, at)];
        }
        let mut rest = grouped.rest();
        if let (Some(other), "/oneOf") = (grouped.get("anyOf"), at) {
            rest["anyOf"] = other.clone();
        }
        let whole = |member: &Value| if rest == json!({}) { member.clone() } else { both(&rest, member) };
        let members = elements(grouped.get(&at[1..])).map(whole).collect();
        let listed = |document| Alternatives { document, members, at, discriminator: None };
        let single = |document, schema: &Value| Alternatives {
            document,
            members: vec![schema.clone()],
            at: "",
            discriminator: None,
        };
        if has_alternatives(b) {
            self.members(&single(self.old, old), &listed(self.new), scope).0
        } else {
            self.members(&listed(self.old), &single(self.new, new), scope).0
        }
    }

    /// The changes of the alternatives, and the pairs that were matched.
    fn members(
        &self,
        old: &Alternatives<'_>,
        new: &Alternatives<'_>,
        scope: Scope,
    ) -> (Vec<Found>, Vec<(usize, usize)>) {
        let pairs = self.matched(old, new, scope);
        let mut found = Vec::new();
        for (i, j) in &pairs {
            let inside = self.schema(&old.members[*i], &new.members[*j], scope);
            let at = if new.at.is_empty() { String::new() } else { format!("{}/{j}", new.at) };
            found.extend(under(&at, None, inside));
        }
        // Whether the values of one alternative are valid for another one.
        let within = |inner: &Value, outer: &Value, removed: bool| {
            let (from, to, scope) =
                if removed { (inner, outer, Scope::Request) } else { (outer, inner, Scope::Response) };
            let inside = self.schema(from, to, scope);
            inside.iter().all(|one| one.verdict() != Verdict::Breaking)
        };
        for (j, member) in new.members.iter().enumerate() {
            if pairs.iter().any(|pair| pair.1 == j) {
                continue;
            }
            let known = old.members.iter().any(|outer| within(member, outer, false));
            let change = if known { Change::AlternativeSplit } else { Change::AlternativeAdded };
            found.push(Found::new(change, scope, place(new.at, j)).values(None, Some(member)));
        }
        for (i, member) in old.members.iter().enumerate() {
            if pairs.iter().any(|pair| pair.0 == i) {
                continue;
            }
            let known = new.members.iter().any(|outer| within(member, outer, true));
            let change = if known { Change::AlternativeMerged } else { Change::AlternativeRemoved };
            found.push(Found::new(change, scope, place(old.at, i)).values(Some(member), None));
        }
        (found, pairs)
    }

    fn discriminator(
        &self,
        a: &Flat,
        b: &Flat,
        pairs: &[(Option<String>, Option<String>)],
        scope: Scope,
    ) -> Vec<Found> {
        const AT: &str = "/discriminator";
        let (before, after) = (a.get("discriminator"), b.get("discriminator"));
        let whole = |change| vec![Found::new(change, scope, AT).values(before, after)];
        let (was, is) = match (before, after) {
            (None, None) => return Vec::new(),
            (None, Some(_)) => return whole(Change::DiscriminatorAdded),
            (Some(_), None) => return whole(Change::DiscriminatorRemoved),
            (Some(was), Some(is)) => (was, is),
        };
        if was.get("propertyName") != is.get("propertyName") {
            return whole(Change::DiscriminatorChanged);
        }
        let (was, is) = (mapping(a), mapping(b));
        let mut found = Vec::new();
        for value in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
            // A new alternative is reported already.
            let stays = |target: &String| {
                let target = Some(target.clone());
                pairs.iter().any(|pair| pair.0 == target || pair.1 == target)
            };
            let change = match (was.get(value), is.get(value)) {
                (Some(was), Some(is)) if was == is => continue,
                (Some(was), Some(is)) if pairs.contains(&(Some(was.clone()), Some(is.clone()))) => continue,
                (Some(_), Some(_)) => Change::MappingChanged,
                (None, Some(target)) if stays(target) => Change::MappingAdded,
                (Some(target), None) if stays(target) => Change::MappingRemoved,
                _ => continue,
            };
            let at = crate::openapi::pointer_step(&format!("{AT}/mapping"), value);
            found.push(Found::new(change, scope, at));
        }
        found
    }
}

fn place(at: &str, index: usize) -> String {
    if at.is_empty() { String::new() } else { format!("{at}/{index}") }
}
