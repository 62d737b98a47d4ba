//! Compares the hand-written code with the vendored description, and checks the dependencies of each crate.

use std::collections::{BTreeMap, BTreeSet};

use akool::{BusinessCode, Client, Credential, Status};
use akool_mock::{MockServer, Timeline};
use akool_tests::{ID, client_of};
use serde_json::Value;

fn vendored() -> Value {
    serde_saphyr::from_str(include_str!("../../openapi/akool.yaml")).unwrap()
}

#[test]
fn the_known_statuses_are_the_vendored_enum() {
    let page = vendored();
    let status = &page["components"]["schemas"]["VideoInfoResult"]["properties"]["video_status"];
    let documented: Vec<i64> =
        status["enum"].as_array().unwrap().iter().map(|code| code.as_i64().unwrap()).collect();
    assert_eq!(
        documented,
        Status::KNOWN.iter().map(|status| i64::from(*status)).collect::<Vec<_>>(),
        "the vendor changed the statuses: update akool::Status"
    );
    // The page uses the same names.
    let words = status["description"].as_str().unwrap();
    for status in Status::KNOWN {
        let named = format!("{}={}", i64::from(*status), status.name());
        assert!(words.contains(&named), "{named} is not in \"{words}\"");
    }
}

#[test]
fn the_styles_are_the_documented_enum() {
    let resolved: Value = serde_saphyr::from_str(include_str!("../../openapi/akool.resolved.yaml")).unwrap();
    let documented = &resolved["components"]["schemas"]["VoiceStyle"]["enum"];
    let known: Vec<_> = akool::VoiceStyle::ALL.iter().map(|style| Value::from(style.to_string())).collect();
    assert_eq!(documented.as_array().unwrap(), &known);
}

#[tokio::test]
async fn the_client_sends_the_documented_header() {
    let page = vendored();
    let schemes = &page["components"]["securitySchemes"];
    assert_eq!(schemes["ApiKeyAuth"]["in"], "header");
    assert_eq!(schemes["BearerAuth"]["scheme"], "bearer");
    let server = MockServer::start().await;
    server.job(ID, Timeline::new());
    client_of(&server).job(ID).get().await.unwrap();
    let sent = &server.exchanges()[0].headers[schemes["ApiKeyAuth"]["name"].as_str().unwrap()];
    assert_eq!(sent.to_str().unwrap(), server.api_key());

    let client = Client::new(Credential::api_key("key").unwrap()).unwrap();
    assert_eq!(client.base_url().trim_end_matches('/'), page["servers"][0]["url"]);
}

#[test]
fn the_table_of_codes_is_sorted_and_has_no_duplicates() {
    let codes: Vec<_> = BusinessCode::documented().collect();
    assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
}

#[test]
fn the_library_guide_contains_the_example() {
    let example = include_str!("../../crates/akool-cli/examples/translate.rs");
    let (_, code) = example.split_once("\n\n").unwrap();
    assert!(
        include_str!("../../docs/library.md").contains(&format!("```rust,no_run\n{code}```")),
        "they differ"
    );
}

/// All dependencies of each workspace member, from the lock file: on all platforms, with all features and tests.
fn reached() -> BTreeMap<String, BTreeSet<String>> {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().unwrap();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut members = BTreeSet::new();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap().to_owned();
        if package.get("source").is_none() {
            members.insert(name.clone());
        }
        let dependencies = package.get("dependencies").and_then(|list| list.as_array());
        let names = dependencies.into_iter().flatten().map(|entry| {
            // "NAME", or "NAME VERSION" if there are several versions.
            entry.as_str().unwrap().split(' ').next().unwrap().to_owned()
        });
        needs.entry(name).or_default().extend(names);
    }
    // It generates types of its own protocol when it is built.
    if let Some(needs) = needs.get_mut("restate-sdk") {
        needs.remove("typify");
    }
    let mut all = BTreeMap::new();
    for member in members {
        let mut reached = BTreeSet::from([member.clone()]);
        let mut open = vec![member.clone()];
        while let Some(name) = open.pop() {
            open.extend(needs[&name].iter().filter(|name| reached.insert((*name).clone())).cloned());
        }
        all.insert(member, reached);
    }
    all
}

#[test]
fn only_xtask_depends_on_the_generator() {
    let all = reached();
    assert!(all.contains_key("xtask") && all.contains_key("akool"), "{:?}", all.keys());
    for (member, reached) in all {
        let generator: Vec<_> = reached
            .iter()
            .filter(|name| {
                name.starts_with("typify") || matches!(name.as_str(), "progenitor" | "progenitor-impl")
            })
            .collect();
        assert_eq!(generator.is_empty(), member != "xtask", "{member} depends on {generator:?}");
    }
}

#[test]
fn akool_contract_has_no_network_and_akool_mock_does_not_depend_on_the_client() {
    let all = reached();
    for name in ["akool", "akool-client", "akool-mock", "reqwest", "hyper", "tokio", "rustls", "socket2"] {
        assert!(!all["akool-contract"].contains(name), "akool-contract depends on {name}");
    }
    for name in ["akool", "akool-client", "akool-cli"] {
        assert!(!all["akool-mock"].contains(name), "akool-mock depends on {name}");
    }
}

#[test]
fn the_table_of_codes_is_the_documented_list() {
    let resolved: Value = serde_saphyr::from_str(include_str!("../../openapi/akool.resolved.yaml")).unwrap();
    let code = &resolved["components"]["schemas"]["ApiResponse"]["properties"]["code"];
    let listed: BTreeSet<_> =
        code["x-extensible-enum"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
    let table = BusinessCode::documented().map(|code| code.0);
    assert_eq!(listed, table.collect(), "see openapi/overlays/40-promises.yaml");
}
