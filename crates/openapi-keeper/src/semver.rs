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
}

/// Compares two generated files.
///
/// # Errors
/// If one of them is not Rust.
pub fn compare(old: &str, new: &str) -> Result<Report> {
    let (old, new) = (items(old)?, items(new)?);
    let mut broken = Vec::new();
    for (path, was) in &old {
        match new.get(path) {
            Some(is) if is == was => {}
            Some(is) => broken.push(format!("{path}: {was} -> {is}")),
            None => broken.push(format!("{path}: {was} was removed")),
        }
    }
    let added: Vec<_> = new.keys().filter(|path| !old.contains_key(*path)).cloned().collect();
    let step = match (broken.is_empty(), added.is_empty()) {
        (false, _) => Step::Major,
        (true, false) => Step::Minor,
        (true, true) => Step::Patch,
    };
    Ok(Report { step, broken, added })
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
                report.step,
                report.broken.len(),
                report.added.len()
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
            format!(
                "Rust: cannot be compared, because code cannot be generated from both: {}\n",
                first.join("\n")
            )
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
