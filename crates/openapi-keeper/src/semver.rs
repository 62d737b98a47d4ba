//! Finds the semver step of the generated crate by comparing its public items. The description alone does
//! not tell: a change without effect on messages can break Rust code.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use quote::quote;
use serde::Serialize;
use syn::{Fields, ImplItem, Item, ItemImpl, Visibility};

/// The part of the version that must increase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// No public item changed.
    Patch,
    /// Public items were added.
    Minor,
    /// Public items were removed or changed.
    Major,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        })
    }
}

/// The differences between the public items of two generated files.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The part of the version that must increase.
    pub step: Step,
    /// Removed and changed items, with their old form.
    pub broken: Vec<String>,
    /// New items.
    pub added: Vec<String>,
    /// The number of items removed or changed, and added, with all members and traits.
    pub counts: (usize, usize),
}

/// Compares two generated files.
///
/// # Errors
/// If one of them is not Rust.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::semver::{self, Step};
///
/// let old = "pub mod types { pub struct Talk { pub id: i64 } } pub struct Client;";
/// let new = "pub mod types { pub struct Talk { pub id: String } } pub struct Client;";
/// let report = semver::compare(old, new)?;
/// assert_eq!(report.step, Step::Major);
/// print!("{}", semver::to_text(&Ok(report)));
/// # Ok(())
/// # }
/// ```
pub fn compare(old: &str, new: &str) -> Result<Report> {
    let (old, new) = (items(old)?, items(new)?);
    let mut broken = Vec::new();
    let mut changed = 0;
    let mut removed = BTreeMap::new();
    for (path, was) in &old {
        match new.get(path) {
            Some(is) if is == was => {}
            Some(is) => {
                broken.push(format!("{path}: {was} -> {is}"));
                changed += 1;
            }
            None => drop(removed.insert(path.as_str(), was.as_str())),
        }
    }
    let added: BTreeMap<_, _> = new
        .iter()
        .filter(|(path, _)| !old.contains_key(*path))
        .map(|(path, what)| (path.as_str(), what.as_str()))
        .collect();
    let step = match (changed + removed.len(), added.len()) {
        (0, 0) => Step::Patch,
        (0, _) => Step::Minor,
        _ => Step::Major,
    };
    let counts = (changed + removed.len(), added.len());
    broken.extend(grouped(&removed, "was removed"));
    broken.sort();
    Ok(Report { step, broken, added: grouped(&added, "is new"), counts })
}

/// One line for each type that comes or goes as a whole, and one for all its traits.
fn grouped(items: &BTreeMap<&str, &str>, verb: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut traits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in items.keys() {
        if let Some((name, owner)) = path.strip_prefix("impl ").and_then(|rest| rest.rsplit_once(" for ")) {
            traits.entry(without_generics(owner)).or_default().push(name);
        }
    }
    let is_type =
        |path: &str| items.get(path).is_some_and(|what| *what == "enum" || what.starts_with("struct"));
    for (path, what) in items {
        // A member comes or goes with its type.
        let parent = |path: &'_ str| -> Option<String> {
            let end = path.rfind(['.', ':'])?;
            Some(path[..end].trim_end_matches(':').to_owned())
        };
        let parents = std::iter::successors(parent(path), |path| parent(path));
        if path.starts_with("impl ") || parents.into_iter().any(|parent| is_type(without_generics(&parent))) {
            continue;
        }
        if !is_type(path) {
            let what = if verb == "is new" { String::new() } else { format!(": {what} {verb}") };
            lines.push(format!("{path}{what}"));
            continue;
        }
        let members = items
            .keys()
            .filter(|member| {
                member
                    .strip_prefix(*path)
                    .is_some_and(|rest| rest.trim_start_matches(' ').starts_with(['.', ':', '<']))
            })
            .count();
        let traits = traits.remove(path).map_or(0, |traits| traits.len());
        lines.push(format!("{path}: {what} {verb}, with {members} members and {traits} traits"));
    }
    for (owner, mut names) in traits {
        names.sort_unstable();
        let verb = if verb == "is new" { "implements" } else { "no longer implements" };
        lines.push(format!("{owner} {verb} {}", names.join(", ")));
    }
    lines
}

/// The name of a type, as it is declared.
fn without_generics(path: &str) -> &str {
    path.split(" <").next().unwrap_or(path)
}

/// The report as JSON, or the reason why there is none.
///
/// # Errors
/// If JSON cannot be written.
pub fn to_json(rust: &Result<Report>) -> Result<serde_json::Value> {
    match rust {
        Ok(report) => Ok(serde_json::to_value(report)?),
        Err(error) => Ok(serde_json::json!({ "error": format!("{error:#}") })),
    }
}

/// The changes in Rust as text.
pub fn to_text(rust: &Result<Report>) -> String {
    match rust {
        Ok(report) => {
            let mut text = format!(
                "Rust: {} ({} public items removed or changed, {} added)\n",
                report.step, report.counts.0, report.counts.1
            );
            for item in &report.broken {
                text += &format!("  - {item}\n");
            }
            for item in &report.added {
                text += &format!("  + {item}\n");
            }
            text
        }
        Err(error) => {
            let text = format!("{error:#}");
            // There may be thousands of problems.
            let first: Vec<_> = text.lines().take(5).collect();
            format!("Rust: cannot be compared: {}\n", first.join("\n"))
        }
    }
}

/// The public items by path, with the part that callers depend on.
fn items(text: &str) -> Result<BTreeMap<String, String>> {
    let file = syn::parse_file(text).context("cannot parse the generated code")?;
    let mut found = BTreeMap::new();
    walk(&file.items, "", &mut found);
    Ok(found)
}

fn walk(items: &[Item], module: &str, found: &mut BTreeMap<String, String>) {
    for item in items {
        match item {
            Item::Mod(inner) if is_public(&inner.vis) => {
                if let Some((_, items)) = &inner.content {
                    walk(items, &format!("{module}{}::", inner.ident), found);
                }
            }
            Item::Struct(item) if is_public(&item.vis) => {
                let path = format!("{module}{}", item.ident);
                let generics = &item.generics;
                found.insert(path.clone(), quote!(struct #generics).to_string());
                fields(&item.fields, &path, found, false);
            }
            Item::Enum(item) if is_public(&item.vis) => {
                let path = format!("{module}{}", item.ident);
                found.insert(path.clone(), "enum".to_owned());
                for variant in &item.variants {
                    let path = format!("{path}::{}", variant.ident);
                    found.insert(path.clone(), "variant".to_owned());
                    fields(&variant.fields, &path, found, true);
                }
            }
            Item::Impl(item) => implementation(item, module, found),
            _ => {}
        }
    }
}

fn fields(fields: &Fields, path: &str, found: &mut BTreeMap<String, String>, all: bool) {
    for (index, field) in fields.iter().enumerate() {
        if all || is_public(&field.vis) {
            let name = field.ident.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
            let kind = &field.ty;
            found.insert(format!("{path}.{name}"), quote!(#kind).to_string());
        }
    }
}

/// Public functions, and implemented traits.
fn implementation(item: &ItemImpl, module: &str, found: &mut BTreeMap<String, String>) {
    let owner = &item.self_ty;
    let owner = format!("{module}{}", quote!(#owner));
    if let Some((path, _)) = &item.trait_ {
        found.insert(format!("impl {} for {owner}", quote!(#path)), "trait".to_owned());
        return;
    }
    for member in &item.items {
        if let ImplItem::Fn(function) = member
            && is_public(&function.vis)
        {
            let signature = &function.sig;
            found.insert(format!("{owner}::{}", signature.ident), quote!(#signature).to_string());
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_and_its_traits_are_one_line() {
        let with = |more: &str| {
            format!("pub mod types {{ pub struct A {{ pub x: u8 }} {more} }} pub struct Client;")
        };
        let new_type = "pub struct B<'a> { pub a: u8, pub b: &'a u8 } impl<'a> B<'a> { pub fn c(&self) {} } \
                        impl<'a> Clone for B<'a> {} impl<'a> ::std::fmt::Debug for B<'a> {}";
        let report = compare(&with(""), &with(new_type)).unwrap();
        assert_eq!(report.added, ["types::B: struct < 'a > is new, with 3 members and 2 traits"]);
        assert_eq!((report.step, report.counts), (Step::Minor, (0, 6)));
        let back = compare(&with(new_type), &with("")).unwrap();
        assert_eq!(back.broken, ["types::B: struct < 'a > was removed, with 3 members and 2 traits"]);
        let traits = compare(&with(""), &with("impl Copy for A {} impl Clone for A {}")).unwrap();
        assert_eq!(traits.added, ["types::A implements Clone, Copy"]);
    }
}
