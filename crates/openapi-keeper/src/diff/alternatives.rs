//! The alternatives of one side, and which alternative of the other side each of them became.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    differ::Differ,
    flat::{Flat, flat},
    rules::{Scope, Verdict},
};
use crate::openapi::{elements, members};

/// Alternatives of one side, and what identifies them.
pub(super) struct Alternatives<'a> {
    pub(super) document: &'a Value,
    pub(super) members: Vec<Value>,
    /// The pointer of the list.
    pub(super) at: &'static str,
    pub(super) discriminator: Option<&'a Value>,
}

impl Differ<'_> {
    /// The pairs of alternatives: by reference, value of the discriminator, title, meaning, similarity.
    pub(super) fn matched(
        &self,
        old: &Alternatives<'_>,
        new: &Alternatives<'_>,
        scope: Scope,
    ) -> Vec<(usize, usize)> {
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let free =
            |pairs: &[(usize, usize)], i: usize, j: usize| pairs.iter().all(|(a, b)| *a != i && *b != j);
        for name in [Alternatives::reference, Alternatives::value, Alternatives::title] {
            for i in 0..old.members.len() {
                let Some(wanted) = name(old, i) else { continue };
                let same = (0..new.members.len())
                    .find(|j| free(&pairs, i, *j) && name(new, *j).as_deref() == Some(&wanted[..]));
                pairs.extend(same.map(|j| (i, j)));
            }
        }
        let mut scores = Vec::new();
        for i in 0..old.members.len() {
            for j in 0..new.members.len() {
                // Two values of the discriminator are two alternatives.
                if !free(&pairs, i, j) || (old.value(i).is_some() && new.value(j).is_some()) {
                    continue;
                }
                let inside = self.schema(&old.members[i], &new.members[j], scope);
                let same = inside.iter().all(|one| one.verdict() == Verdict::Docs);
                let score = if same { 100 } else { old.similarity(i, new, j) };
                if score >= 50 {
                    scores.push((std::cmp::Reverse(score), i + j, i, j));
                }
            }
        }
        scores.sort_unstable();
        for (_, _, i, j) in scores {
            if free(&pairs, i, j) {
                pairs.push((i, j));
            }
        }
        pairs
    }
}

impl Alternatives<'_> {
    fn reference(&self, index: usize) -> Option<String> {
        reference(&self.members[index]).map(str::to_owned)
    }

    /// The value of the discriminator.
    fn value(&self, index: usize) -> Option<String> {
        let discriminator = self.discriminator?;
        let target = reference(&self.members[index]);
        let mapped = members(discriminator.get("mapping"))
            .find(|(_, to)| to.as_str().is_some_and(|to| Some(&full(to)[..]) == target))
            .map(|(value, _)| value.clone());
        let name = discriminator.get("propertyName").and_then(Value::as_str)?;
        let field = || {
            let flat = flat(self.document, &self.members[index]);
            let field = super::flat::flat(self.document, flat.get("properties")?.get(name)?);
            let values: Vec<&Value> = elements(field.get("enum")).collect();
            match &values[..] {
                [Value::String(only)] => Some(only.clone()),
                _ => None,
            }
        };
        mapped.or_else(field).or_else(|| target.and_then(|to| to.rsplit('/').next()).map(str::to_owned))
    }

    fn title(&self, index: usize) -> Option<String> {
        let flat = flat(self.document, &self.members[index]);
        flat.get("title").and_then(Value::as_str).map(str::to_owned)
    }

    /// How much two alternatives have in common, in percent.
    fn similarity(&self, index: usize, other: &Self, at: usize) -> usize {
        let (a, b) = (flat(self.document, &self.members[index]), flat(other.document, &other.members[at]));
        let types = |flat: &Flat| -> Option<Vec<String>> {
            flat.types().map(|types| types.iter().map(|name| name.replace("integer", "number")).collect())
        };
        if let (Some(a), Some(b)) = (types(&a), types(&b))
            && !a.iter().any(|name| b.contains(name))
        {
            return 0;
        }
        let names = |flat: &Flat| -> BTreeSet<String> {
            let fields = members(flat.get("properties")).map(|(name, _)| name.clone());
            fields.chain(flat.get("items").map(|items| items.to_string())).collect()
        };
        let (a, b) = (names(&a), names(&b));
        let all = a.union(&b).count();
        // Values without fields have only their type.
        (a.intersection(&b).count() * 100).checked_div(all).unwrap_or(60)
    }
}

/// The reference that a schema consists of.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    let only = match schema.get("allOf").and_then(Value::as_array) {
        Some(all) if all.len() == 1 => &all[0],
        _ => schema,
    };
    only.get("$ref").and_then(Value::as_str)
}

/// A target of a mapping, which may be the name of a schema.
fn full(target: &str) -> String {
    if target.contains(['/', '#']) { target.to_owned() } else { format!("#/components/schemas/{target}") }
}

/// The reference for each value of the discriminator: the mapping, and the names of the other schemas.
pub(super) fn mapping(flat: &Flat) -> BTreeMap<String, String> {
    let mut mapping: BTreeMap<String, String> =
        members(flat.get("discriminator").and_then(|discriminator| discriminator.get("mapping")))
            .filter_map(|(value, to)| Some((value.clone(), full(to.as_str()?))))
            .collect();
    for member in elements(flat.get("oneOf")).chain(elements(flat.get("anyOf"))) {
        let Some(target) = reference(member) else { continue };
        if !mapping.values().any(|mapped| mapped == target) {
            let name = target.rsplit('/').next().unwrap_or_default();
            mapping.entry(name.to_owned()).or_insert_with(|| target.to_owned());
        }
    }
    mapping
}
