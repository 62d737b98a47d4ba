//! Vendors a description and generates a client from it, with openapi-keeper and progenitor.
//!
//! - `generate import FILE [OPERATION...]`
//! - `generate client`

use std::{fs, path::Path};

use anyhow::{Result, anyhow, bail, ensure};
use openapi_keeper::{description, diff, import::Options, project::Project, supported, valid};

fn main() -> Result<()> {
    let project = Project::open(Path::new("keeper.toml"))?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["import", file, operations @ ..] => import(&project, file, operations),
        ["client"] => client(&project),
        _ => bail!("usage: generate import FILE [OPERATION...] | generate client"),
    }
}

/// Vendors a description, and prints what changed since the last one.
fn import(project: &Project, file: &str, operations: &[&str]) -> Result<()> {
    let before = project.vendored().ok();
    let only = operations.iter().map(|operation| operation.to_string()).collect();
    let plan = project.plan(&Options { sources: vec![file.into()], only, ..Options::default() })?;
    if let Some(before) = before {
        let mut findings = diff::compare(&before.document, &plan.vendored.document);
        project.accepted()?.apply(&mut findings);
        print!("{}", diff::print(&findings, diff::Format::Markdown, &[])?);
    }
    project.write(&plan)
}

/// Applies the overlays and writes the client.
fn client(project: &Project) -> Result<()> {
    let resolved = project.resolve()?.document;
    // Mistakes that keep no client from being generated, such as an example that does not match its schema.
    println!("{} places are not valid", valid::problems(&resolved).len());
    let problems = supported::problems(&resolved);
    let list: String = problems.iter().map(|problem| format!("\n{problem}")).collect();
    ensure!(problems.is_empty(), "no client can be generated:{list}");
    fs::write(project.resolved_file(), description::to_yaml(&resolved)?)?;
    let mut generator = progenitor::Generator::default();
    let tokens =
        generator.generate_tokens(&serde_json::from_value(resolved)?).map_err(|error| anyhow!("{error}"))?;
    let code = prettyplease::unparse(&syn::parse2(tokens)?);
    fs::write("client/src/generated.rs", &code)?;
    println!("client/src/generated.rs has {} lines", code.lines().count());
    Ok(())
}
