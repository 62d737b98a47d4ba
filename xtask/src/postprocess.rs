//! What progenitor has no setting for, done on the syntax tree of its output.
//!
//! - Every public type is `#[non_exhaustive]`, so that a new field upstream breaks nobody, and
//!   has `Clone`, `Debug` and `PartialEq`.
//! - `Client::new` goes: its HTTP client follows redirects, which would carry `x-api-key` to
//!   another host, and it panics where no HTTP client can be built.
//! - The header `api-version`, which the description does not know, is not sent.
//! - `#[allow(clippy::all)]` goes: what generated code cannot meet is allowed one by one in
//!   `lib.rs`, each with its reason.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use quote::quote;
use syn::{
    Attribute, Block, Expr, File, Ident, ImplItem, Item, ItemImpl, Path, Stmt, Visibility, parse_quote,
    punctuated::Punctuated,
    visit_mut::{self, VisitMut},
};

/// The derives that a user of the generated types counts on.
const DERIVES: [&str; 3] = ["Clone", "Debug", "PartialEq"];

/// Makes the generated file strict.
pub(crate) fn postprocess(file: &mut File) {
    StripAllow.visit_file_mut(file);
    StripApiVersion.visit_file_mut(file);
    postprocess_items(&mut file.items, false);
}

fn postprocess_items(items: &mut [Item], in_types: bool) {
    let by_hand = implemented(items);
    for item in items {
        match item {
            Item::Mod(module) => {
                let in_types = in_types || module.ident == "types";
                if let Some((_, items)) = &mut module.content {
                    postprocess_items(items, in_types);
                }
            }
            Item::Struct(item) if in_types && is_public(&item.vis) => {
                open(&mut item.attrs, &item.ident, &by_hand);
            }
            Item::Enum(item) if in_types && is_public(&item.vis) => {
                open(&mut item.attrs, &item.ident, &by_hand);
            }
            Item::Impl(item) if item.trait_.is_none() && self_type(item) == "Client" => {
                item.items.retain(
                    |member| !matches!(member, ImplItem::Fn(function) if function.sig.ident == "new"),
                );
            }
            _ => {}
        }
    }
}

/// Adds what a public type lacks.
fn open(attributes: &mut Vec<Attribute>, name: &Ident, by_hand: &BTreeSet<(String, String)>) {
    if !is_non_exhaustive(attributes) {
        attributes.push(parse_quote!(#[non_exhaustive]));
    }
    let has = derives(attributes);
    for derive in DERIVES {
        if !has.contains(derive) && !by_hand.contains(&(name.to_string(), derive.to_owned())) {
            let derive = Ident::new(derive, proc_macro2::Span::call_site());
            attributes.push(parse_quote!(#[derive(#derive)]));
        }
    }
}

struct StripAllow;

impl VisitMut for StripAllow {
    fn visit_attributes_mut(&mut self, attributes: &mut Vec<Attribute>) {
        attributes
            .retain(|attribute| quote!(#attribute).to_string() != quote!(#[allow(clippy::all)]).to_string());
    }
}

/// Takes out the header `api-version`, and the map of headers where nothing else is in it.
struct StripApiVersion;

impl VisitMut for StripApiVersion {
    fn visit_block_mut(&mut self, block: &mut Block) {
        visit_mut::visit_block_mut(self, block);
        let before = block.stmts.len();
        block.stmts.retain(|statement| {
            let text = quote!(#statement).to_string();
            !(text.starts_with("header_map") && text.contains("\"api-version\""))
        });
        let mentions = quote!(#block).to_string().matches("header_map").count();
        // What is left is its declaration and its use.
        if block.stmts.len() < before && mentions == 2 {
            block.stmts.retain(|statement| {
                !matches!(statement, Stmt::Local(local) if quote!(#local).to_string().contains("mut header_map ="))
            });
            StripHeaders.visit_block_mut(block);
        }
    }
}

/// Takes `.headers(header_map)` out of a chain of calls.
struct StripHeaders;

impl VisitMut for StripHeaders {
    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        visit_mut::visit_expr_mut(self, expression);
        if let Expr::MethodCall(call) = expression
            && call.method == "headers"
            && matches!(call.args.first(), Some(Expr::Path(path)) if path.path.is_ident("header_map"))
        {
            *expression = (*call.receiver).clone();
        }
    }
}

/// Fails where a generated type lacks what [`postprocess`] promises, naming each.
pub(crate) fn verify(file: &File) -> Result<()> {
    let mut lacking = Vec::new();
    verify_items(&file.items, "", &mut lacking);
    if !lacking.is_empty() {
        bail!("generated types do not keep their promises:\n  {}", lacking.join("\n  "));
    }
    Ok(())
}

/// The traits that are implemented by hand in these items: type and trait.
fn implemented(items: &[Item]) -> BTreeSet<(String, String)> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Impl(item) => {
                let (path, _) = item.trait_.as_ref()?;
                Some((self_type(item), path.segments.last()?.ident.to_string()))
            }
            _ => None,
        })
        .collect()
}

fn self_type(item: &ItemImpl) -> String {
    let ty = &item.self_ty;
    quote!(#ty).to_string()
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_non_exhaustive(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"))
}

/// The last segments of everything that is derived.
fn derives(attributes: &[Attribute]) -> BTreeSet<String> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"))
        .filter_map(|attribute| {
            attribute.parse_args_with(Punctuated::<Path, syn::Token![,]>::parse_terminated).ok()
        })
        .flatten()
        .filter_map(|path| path.segments.last().map(|last| last.ident.to_string()))
        .collect()
}

fn verify_items(items: &[Item], module: &str, lacking: &mut Vec<String>) {
    let by_hand = implemented(items);
    for item in items {
        let (name, attributes, visibility) = match item {
            Item::Mod(inner) => {
                let path = format!("{module}{}::", inner.ident);
                if let Some((_, items)) = &inner.content {
                    verify_items(items, &path, lacking);
                }
                continue;
            }
            Item::Struct(item) => (&item.ident, &item.attrs, &item.vis),
            Item::Enum(item) => (&item.ident, &item.attrs, &item.vis),
            _ => continue,
        };
        if !module.starts_with("types::") || !is_public(visibility) {
            continue;
        }
        let has = derives(attributes);
        for derive in DERIVES {
            if has.contains(derive) || by_hand.contains(&(name.to_string(), derive.to_owned())) {
                continue;
            }
            lacking.push(format!("{module}{name} does not derive {derive}"));
        }
        if !is_non_exhaustive(attributes) {
            lacking.push(format!("{module}{name} is not #[non_exhaustive]"));
        }
        if quote!(#item).to_string().contains("HashMap") {
            lacking.push(format!("{module}{name} holds a map without order"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        syn::parse_file(text).unwrap()
    }

    #[test]
    fn types_are_made_open_and_comparable() {
        let mut file = file(
            "pub mod types { #[derive(Clone)] pub struct A { pub x: i64 } pub mod error { pub struct E(String); impl ::std::fmt::Debug for E {} } }",
        );
        assert!(verify(&file).is_err());
        postprocess(&mut file);
        verify(&file).unwrap();
    }

    #[test]
    fn a_type_that_breaks_a_promise_is_named() {
        let file = file(
            "pub mod types { #[derive(Clone, Debug)] #[non_exhaustive] pub struct A { pub x: ::std::collections::HashMap<String, i64> } }",
        );
        let error = verify(&file).unwrap_err().to_string();
        assert!(error.contains("types::A does not derive PartialEq"), "{error}");
        assert!(error.contains("types::A holds a map without order"), "{error}");
        assert!(!error.contains("non_exhaustive"), "{error}");
    }

    #[test]
    fn the_api_version_is_not_sent_and_other_headers_are() {
        let version = r#"header_map.append(HeaderName::from_static("api-version"), v());"#;
        let send = |rest: &str| {
            format!(
                "fn send() {{ let mut header_map = HeaderMap::with_capacity(1usize); {version} {rest} \
                 let request = client.get(url).headers(header_map).build()?; }}"
            )
        };
        let mut alone = file(&send(""));
        postprocess(&mut alone);
        assert_eq!(
            prettyplease::unparse(&alone),
            "fn send() {\n    let request = client.get(url).build()?;\n}\n"
        );
        let mut beside = file(&send(r#"header_map.append("x-other", o);"#));
        postprocess(&mut beside);
        let text = prettyplease::unparse(&beside);
        assert!(!text.contains("api-version"), "{text}");
        assert!(text.contains("x-other") && text.contains(".headers(header_map)"), "{text}");
    }

    #[test]
    fn the_constructor_that_follows_redirects_goes() {
        let mut file = file(
            "#[allow(clippy::all)] impl Client { pub fn new(a: &str) -> Self { todo!() } pub fn new_with_client() {} } \
             impl Other { pub fn new() {} }",
        );
        postprocess(&mut file);
        let text = prettyplease::unparse(&file);
        assert!(!text.contains("fn new(a"), "{text}");
        assert!(
            text.contains("new_with_client") && text.contains("impl Other {\n    pub fn new()"),
            "{text}"
        );
        assert!(!text.contains("clippy"), "{text}");
    }
}
