//! Changes the syntax tree of progenitor's output where progenitor has no setting.
//!
//! - Every public type is `#[non_exhaustive]`, so that a new field upstream breaks nobody, and
//!   implements `Clone`, `Debug` and `PartialEq`.
//! - `Client::new` is removed: its HTTP client follows redirects, which would send `x-api-key` to
//!   another host, and it panics if no HTTP client can be built.
//! - An enum of strings has a constant `ALL` with its values.
//! - The undocumented header `api-version` is not sent.
//! - The URL of an operation without parameters in its path is parsed once, by the hand-written `Client::endpoint`.
//! - The base URL is shared by the copies of a client instead of copied with each.
//! - `#[allow(clippy::all)]` is removed: `lib.rs` allows single lints with a reason.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use quote::quote;
use syn::{
    Attribute, Block, Expr, ExprLit, Fields, File, Ident, ImplItem, Item, ItemEnum, ItemImpl, ItemStruct,
    Lit, Local, Pat, Path, Stmt, Visibility, parse_quote,
    punctuated::Punctuated,
    visit_mut::{self, VisitMut},
};

/// The traits that every public type implements.
const DERIVES: [&str; 3] = ["Clone", "Debug", "PartialEq"];

/// Applies all changes to the generated file.
pub(crate) fn postprocess(file: &mut File) {
    StripAllow.visit_file_mut(file);
    StripApiVersion.visit_file_mut(file);
    KeepUrls.visit_file_mut(file);
    ShareBaseUrl.visit_file_mut(file);
    postprocess_items(&mut file.items, false);
}

fn postprocess_items(items: &mut Vec<Item>, in_types: bool) {
    let implemented = implementations(items);
    let mut lists = Vec::new();
    for item in items.iter_mut() {
        match item {
            Item::Mod(module) => {
                let in_types = in_types || module.ident == "types";
                if let Some((_, items)) = &mut module.content {
                    postprocess_items(items, in_types);
                }
            }
            Item::Struct(item) if in_types && is_public(&item.vis) => {
                add_attributes(&mut item.attrs, &item.ident, &implemented);
            }
            Item::Enum(item) if in_types && is_public(&item.vis) => {
                add_attributes(&mut item.attrs, &item.ident, &implemented);
                lists.extend(variants(item));
            }
            Item::Impl(item) if item.trait_.is_none() && self_type(item) == "Client" => {
                item.items.retain(
                    |member| !matches!(member, ImplItem::Fn(function) if function.sig.ident == "new"),
                );
            }
            _ => {}
        }
    }
    items.append(&mut lists);
}

/// A constant with all variants, for an enum of which each is a value on the wire.
fn variants(item: &ItemEnum) -> Option<Item> {
    let (name, variants) = (&item.ident, item.variants.iter().map(|variant| &variant.ident));
    item.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit)).then(|| {
        parse_quote! {
            impl #name {
                /// Every value of the description, in its order.
                pub const ALL: &'static [Self] = &[#(Self::#variants),*];
            }
        }
    })
}

/// Adds the missing attributes of a public type.
fn add_attributes(attributes: &mut Vec<Attribute>, name: &Ident, implemented: &BTreeSet<(String, String)>) {
    if !is_non_exhaustive(attributes) {
        attributes.push(parse_quote!(#[non_exhaustive]));
    }
    let has = derives(attributes);
    for derive in DERIVES {
        if !has.contains(derive) && !implemented.contains(&(name.to_string(), derive.to_owned())) {
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

/// Removes the header `api-version`, and the map of headers if it is empty then.
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
        // Only the declaration and the use are left.
        if block.stmts.len() < before && mentions == 2 {
            block.stmts.retain(|statement| {
                !matches!(statement, Stmt::Local(local) if quote!(#local).to_string().contains("mut header_map ="))
            });
            StripHeaders.visit_block_mut(block);
        }
    }
}

/// Turns `let url = format!("{}/path", client.baseurl)` into a call of `Client::endpoint`.
struct KeepUrls;

impl VisitMut for KeepUrls {
    fn visit_local_mut(&mut self, local: &mut Local) {
        visit_mut::visit_local_mut(self, local);
        let is_url = matches!(&local.pat, Pat::Ident(name) if name.ident == "url");
        if let Some(init) = &mut local.init
            && let Expr::Macro(call) = &*init.expr
            && is_url
            && call.mac.path.is_ident("format")
            && let Ok(arguments) =
                call.mac.parse_body_with(Punctuated::<Expr, syn::Token![,]>::parse_terminated)
            && arguments.len() == 2
            && let Some(Expr::Lit(ExprLit { lit: Lit::Str(format), .. })) = arguments.first()
            && let Some(path) = format.value().strip_prefix("{}")
        {
            *init.expr = parse_quote!(client.endpoint(#path).map_err(Error::InvalidRequest)?);
        }
    }
}

/// Makes the field `baseurl` of the client an `Arc<str>`.
struct ShareBaseUrl;

impl VisitMut for ShareBaseUrl {
    fn visit_item_struct_mut(&mut self, item: &mut ItemStruct) {
        for field in item.fields.iter_mut().filter(|_| item.ident == "Client") {
            if field.ident.as_ref().is_some_and(|name| name == "baseurl") {
                field.ty = parse_quote!(std::sync::Arc<str>);
            }
        }
    }

    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        visit_mut::visit_expr_mut(self, expression);
        match quote!(#expression).to_string().as_str() {
            "baseurl . to_string ()" => *expression = parse_quote!(baseurl.into()),
            "self . baseurl . as_str ()" => *expression = parse_quote!(&self.baseurl),
            _ => {}
        }
    }
}

/// Removes `.headers(header_map)` from a chain of calls.
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

/// Checks that every public type has the attributes that [`postprocess`] adds. The error names each type.
pub(crate) fn verify(file: &File) -> Result<()> {
    let mut missing = Vec::new();
    verify_items(&file.items, "", &mut missing);
    if !missing.is_empty() {
        bail!("generated types lack attributes:\n  {}", missing.join("\n  "));
    }
    Ok(())
}

/// The trait implementations in these items: type and trait.
fn implementations(items: &[Item]) -> BTreeSet<(String, String)> {
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

/// The last segments of all derived traits.
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

fn verify_items(items: &[Item], module: &str, missing: &mut Vec<String>) {
    let implemented = implementations(items);
    for item in items {
        let (name, attributes, visibility) = match item {
            Item::Mod(inner) => {
                let path = format!("{module}{}::", inner.ident);
                if let Some((_, items)) = &inner.content {
                    verify_items(items, &path, missing);
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
            if has.contains(derive) || implemented.contains(&(name.to_string(), derive.to_owned())) {
                continue;
            }
            missing.push(format!("{module}{name} does not derive {derive}"));
        }
        if !is_non_exhaustive(attributes) {
            missing.push(format!("{module}{name} is not #[non_exhaustive]"));
        }
        if quote!(#item).to_string().contains("HashMap") {
            missing.push(format!("{module}{name} contains an unordered map"));
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
    fn public_types_are_non_exhaustive_and_comparable() {
        let mut file = file(
            "pub mod types { #[derive(Clone)] pub struct A { pub x: i64 } pub mod error { pub struct E(String); impl ::std::fmt::Debug for E {} } }",
        );
        assert!(verify(&file).is_err());
        postprocess(&mut file);
        verify(&file).unwrap();
    }

    #[test]
    fn a_type_without_the_attributes_is_an_error_that_names_it() {
        let file = file(
            "pub mod types { #[derive(Clone, Debug)] #[non_exhaustive] pub struct A { pub x: ::std::collections::HashMap<String, i64> } }",
        );
        let error = verify(&file).unwrap_err().to_string();
        assert!(error.contains("types::A does not derive PartialEq"), "{error}");
        assert!(error.contains("types::A contains an unordered map"), "{error}");
        assert!(!error.contains("non_exhaustive"), "{error}");
    }

    #[test]
    fn the_header_api_version_is_removed_and_other_headers_are_kept() {
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
    fn only_a_url_without_parameters_is_kept() {
        let send = |url: &str| format!("fn send() {{ let url = format!({url}); }}");
        for (url, kept) in [
            (r#""{}/a/b", client.baseurl,"#, true),
            (r#""{}/a/{}", client.baseurl, encode_path(&id)"#, false),
        ] {
            let mut file = file(&send(url));
            postprocess(&mut file);
            let text = prettyplease::unparse(&file);
            assert_eq!(text.contains("client.endpoint(\"/a/b\")"), kept, "{text}");
        }
    }

    #[test]
    fn the_constructor_that_follows_redirects_is_removed() {
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
