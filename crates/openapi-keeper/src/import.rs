//! Imports the vendor's sources into a project: each is vendored byte for byte, and replaces the vendored file
//! that it is a new version of.
//!
//! An import is planned in memory, so that it can be reported, and is written as a whole or not at all.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use toml::value::Datetime;

use crate::{
    description,
    project::{Preference, Project, Source, Sources, Vendored, recorded, sha256},
    source::{Fragment, operations, read},
};

/// What to import.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Documentation pages, OpenAPI documents, folders of these, or `-` for standard input.
    pub sources: Vec<PathBuf>,
    /// The vendor's URLs, one for each source, or none.
    pub origins: Vec<String>,
    /// The operations to take, such as `GET /path` [default: all, or for a new version of a vendored file, those
    /// that were taken from it].
    pub only: Vec<String>,
    /// The source that takes precedence if two define the same thing differently.
    pub prefer: Option<PathBuf>,
    /// Why it does.
    pub reason: Option<String>,
}

/// An import that was not written yet.
#[derive(Debug)]
pub struct Plan {
    /// The description with the new sources.
    pub vendored: Vendored,
    /// The new list of sources.
    pub sources: Sources,
    before: Sources,
}

/// A source of the description that will be: one that is kept, new, or replaced.
struct Slot {
    source: Source,
    fragment: Fragment,
    /// The operations that may be taken from it.
    wanted: Vec<String>,
    given: bool,
}

impl Project {
    /// Plans an import of today.
    ///
    /// # Errors
    /// If a source cannot be read or is not valid, or two sources define one thing differently and neither is
    /// preferred: then the cause is [`Conflicts`](crate::merge::Conflicts).
    pub fn plan(&self, options: &Options) -> Result<Plan> {
        let before = self.sources()?;
        let current = before.sources.iter().map(|source| self.read(source)).collect::<Result<Vec<_>>>()?;
        let name = |slots: &[Slot], fragment: &Fragment| self.new_name(slots, fragment);
        plan(options, before, current, &name)
    }

    /// Writes an import.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, plan: &Plan) -> Result<()> {
        for (source, fragment) in plan.changed() {
            description::write(&self.vendored_folder().join(&source.file), &fragment.bytes)
                .with_context(|| format!("cannot write {}", self.shown(&source.file)))?;
        }
        if plan.sources == plan.before { Ok(()) } else { self.write_sources(&plan.sources) }
    }

    /// The files that an import writes.
    pub fn written(&self, plan: &Plan) -> Vec<PathBuf> {
        let list = (plan.sources != plan.before).then(|| self.sources_file());
        plan.changed().map(|(source, _)| self.vendored_folder().join(&source.file)).chain(list).collect()
    }

    /// A name for a new vendored file.
    fn new_name(&self, slots: &[Slot], fragment: &Fragment) -> String {
        let path = Path::new(&fragment.file);
        let stem =
            path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "-").unwrap_or("api");
        let extension =
            if path.extension().is_some_and(|extension| extension == "json") { "json" } else { "yaml" };
        let names = (1..).map(|number| match number {
            1 => format!("{stem}.{extension}"),
            _ => format!("{stem}-{number}.{extension}"),
        });
        let free = |name: &String| {
            !self.vendored_folder().join(name).exists() && slots.iter().all(|slot| slot.source.file != *name)
        };
        names.into_iter().find(free).unwrap_or_default()
    }
}

impl Plan {
    /// Reads sources without a project.
    ///
    /// # Errors
    /// As [`Project::plan`].
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("talks.yaml");
    /// # std::fs::write(&file, "{openapi: 3.0.3, paths: {/talks: {get: {responses: {}}}, /users: {get: {responses: {}}}}}")?;
    /// use openapi_keeper::import::{Options, Plan};
    ///
    /// let only = vec!["GET /talks".to_owned()];
    /// let plan = Plan::without_project(&Options { sources: vec![file], only, ..Options::default() })?;
    /// assert!(plan.notes()[0].contains("1 operations are not taken"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_project(options: &Options) -> Result<Self> {
        let name = |_: &[Slot], fragment: &Fragment| fragment.shown();
        plan(options, Sources::default(), Vec::new(), &name)
    }

    /// The description as text: the bytes of a single source, or the merge.
    ///
    /// # Errors
    /// If it cannot be written as YAML.
    pub fn text(&self) -> Result<Vec<u8>> {
        match &self.vendored.fragments[..] {
            [only] if only.document == self.vendored.document => Ok(only.bytes.clone()),
            _ => Ok(description::to_yaml(&self.vendored.document)?.into_bytes()),
        }
    }

    /// Differences between the sources that need no decision, and operations that are not taken.
    pub fn notes(&self) -> Vec<String> {
        let taken: BTreeSet<_> = self.sources.sources.iter().flat_map(|source| &source.operations).collect();
        let mut notes = self.vendored.merged.notes.clone();
        for fragment in &self.vendored.fragments {
            let left = operations(&fragment.document).iter().filter(|one| !taken.contains(one)).count();
            if left > 0 {
                notes.push(format!("{}: {left} operations are not taken", fragment.shown()));
            }
        }
        notes
    }

    /// The sources with new bytes.
    pub fn changed(&self) -> impl Iterator<Item = (&Source, &Fragment)> {
        let old = |source: &Source| {
            self.before.sources.iter().any(|old| old.file == source.file && old.sha256 == source.sha256)
        };
        self.sources.sources.iter().zip(&self.vendored.fragments).filter(move |(source, _)| !old(source))
    }
}

fn plan(
    options: &Options,
    before: Sources,
    current: Vec<Fragment>,
    name: &dyn Fn(&[Slot], &Fragment) -> String,
) -> Result<Plan> {
    let Options { sources: given, origins, only, prefer, .. } = options;
    ensure!(
        origins.is_empty() || origins.len() == given.len(),
        "{} sources, but {} --origin; give one for each source, in the same order",
        given.len(),
        origins.len()
    );
    if let Some(prefer) = prefer.as_ref().filter(|prefer| !given.contains(prefer)) {
        bail!("--prefer {} is not one of the sources", prefer.display());
    }
    let today: Datetime =
        jiff::Zoned::now().date().to_string().parse().context("today's date is not valid")?;
    let today = today.date.context("today's date is not valid")?;
    let taken: BTreeSet<&String> = before.sources.iter().flat_map(|source| &source.operations).collect();
    // What is taken from a version of a vendored file: everything, or the selection that was made before.
    let wanted = |old: &Source, was: &Fragment, is: &Fragment| -> Vec<String> {
        let everything = operations(&was.document).iter().all(|operation| taken.contains(operation));
        operations(&is.document)
            .into_iter()
            .filter(|one| everything || old.operations.contains(one))
            .collect()
    };
    let mut slots: Vec<Slot> = before
        .sources
        .iter()
        .zip(current)
        .map(|(source, fragment)| Slot {
            wanted: wanted(source, &fragment, &fragment),
            source: source.clone(),
            fragment,
            given: false,
        })
        .collect();
    let fragments = read(given)?;
    let origin = |fragment: &Fragment| {
        let index = given.iter().position(|source| *source == fragment.source)?;
        origins.get(index).cloned()
    };
    let mut places: Vec<Option<usize>> = vec![None; fragments.len()];
    for likeness in LIKENESSES {
        for index in 0..fragments.len() {
            let is = |place: &usize| {
                let slot = &slots[*place];
                likeness(&fragments[index], origin(&fragments[index]).as_deref(), slot)
            };
            let free = (0..slots.len()).filter(|place| !places.contains(&Some(*place)));
            let found = free.filter(|_| places[index].is_none()).find(is);
            places[index] = places[index].or(found);
        }
    }
    for (fragment, place) in fragments.into_iter().zip(places) {
        let origin = origin(&fragment);
        let there = operations(&fragment.document);
        let old = place.map(|place| &slots[place]);
        let mut source = old.map_or_else(
            || Source {
                file: name(&slots, &fragment),
                origin: fragment.file.clone(),
                retrieved: today,
                sha256: String::new(),
                operations: Vec::new(),
            },
            |old| old.source.clone(),
        );
        let hash = sha256(&fragment.bytes);
        if source.sha256 != hash {
            source.retrieved = today;
        }
        source.sha256 = hash;
        source.origin = origin.unwrap_or(source.origin);
        let wanted = match old {
            _ if !only.is_empty() => there.into_iter().filter(|operation| only.contains(operation)).collect(),
            Some(old) => wanted(&old.source, &old.fragment, &fragment),
            None => there,
        };
        let slot = Slot { source, fragment, wanted, given: true };
        match place {
            Some(place) => slots[place] = slot,
            None => slots.push(slot),
        }
    }
    let found = |operation: &&String| slots.iter().any(|slot| slot.wanted.contains(operation));
    if let Some(missing) = only.iter().find(|operation| !found(operation)) {
        bail!("no source has the operation {missing}; write it like `GET /path`");
    }
    merged(options, before, slots)
}

/// Whether a source is a new version of a vendored file.
type Likeness = fn(&Fragment, Option<&str>, &Slot) -> bool;

/// Reasons why a source is a new version of a vendored file, the best one first.
const LIKENESSES: [Likeness; 3] = [
    |fragment, _, slot| {
        let there = operations(&fragment.document);
        match &fragment.page {
            // A page is about one operation. Others on it do not make it another page.
            Some(page) => {
                let taken = &slot.source.operations;
                taken.contains(page) && taken.iter().all(|operation| there.contains(operation))
            }
            None => there == operations(&slot.fragment.document),
        }
    },
    |_, origin, slot| origin == Some(&slot.source.origin),
    |fragment, _, slot| {
        let stem = |file: &str| Path::new(file).file_stem().map(ToOwned::to_owned);
        let there = operations(&fragment.document);
        stem(&fragment.file) == stem(&slot.source.file)
            && slot.source.operations.iter().any(|operation| there.contains(operation))
    },
];

/// Merges the sources, and records what is taken from each.
fn merged(options: &Options, before: Sources, slots: Vec<Slot>) -> Result<Plan> {
    let preferred: Vec<bool> = slots
        .iter()
        .map(|slot| slot.given && options.prefer.as_ref() == Some(&slot.fragment.source))
        .collect();
    let wanted: Vec<_> = slots.iter().map(|slot| slot.wanted.clone()).collect();
    let (mut sources, fragments): (Vec<_>, Vec<_>) =
        slots.into_iter().map(|slot| (slot.source, slot.fragment)).unzip();
    let now = |one: usize, other: usize| match (preferred[one], preferred[other]) {
        (true, false) => Some(one),
        (false, true) => Some(other),
        _ => None,
    };
    let prefer = |pointer: &str, one, other| {
        now(one, other).or_else(|| recorded(&before.preferences, &sources, pointer, one, other))
    };
    let vendored = Vendored::of(fragments, &wanted, &prefer)?;
    let reason = options.reason.as_deref().filter(|reason| !reason.trim().is_empty());
    let preferences = vendored.merged.choices.iter().map(|choice| {
        let (taken, left_out) = (&sources[choice.taken].file, &sources[choice.left_out].file);
        let old = before.preferences.iter().find(|old| {
            (&old.pointer, &old.taken, &old.left_out) == (&choice.pointer, taken, left_out)
        });
        let reason = match (now(choice.taken, choice.left_out), old) {
            (None, Some(old)) => old.reason.clone(),
            (_, old) => reason.map(str::to_owned).or_else(|| old.map(|old| old.reason.clone())).with_context(|| {
                format!(
                    "{} is defined by {taken} and by {left_out}; say why the first is preferred with --reason TEXT, \
                     which is recorded",
                    choice.pointer
                )
            })?,
        };
        let (pointer, taken, left_out) = (choice.pointer.clone(), taken.clone(), left_out.clone());
        Ok(Preference { pointer, taken, left_out, reason })
    });
    let preferences = preferences.collect::<Result<Vec<_>>>()?;
    let owns = |index: usize, operation: &str| {
        let (method, path) = operation.split_once(' ').unwrap_or_default();
        let at = crate::openapi::pointer_step(
            &crate::openapi::pointer_step("/paths", path),
            &method.to_lowercase(),
        );
        let owners = &vendored.merged.owners;
        owners.get(&at).or(owners.get("")) == Some(&index)
    };
    for (index, source) in sources.iter_mut().enumerate() {
        source.operations =
            wanted[index].iter().filter(|operation| owns(index, operation)).cloned().collect();
    }
    Ok(Plan { vendored, sources: Sources { sources, preferences }, before })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A project without sources, in a temporary folder with a folder for what is given.
    fn project() -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().unwrap();
        let text = "sources = 's.toml'\noverlays = 'o'\nresolved = 'r.yaml'\naccepted = 'a.toml'\n";
        fs::create_dir_all(folder.path().join("api/o")).unwrap();
        fs::create_dir(folder.path().join("given")).unwrap();
        fs::write(folder.path().join("api/keeper.toml"), text).unwrap();
        let project = Project::open(&folder.path().join("api/keeper.toml")).unwrap();
        (folder, project)
    }

    fn document(paths: &[&str], schema: &str) -> String {
        let paths: String = paths
            .iter()
            .map(|path| {
                format!(
                    "  {path}:\n    get:\n      responses:\n        '200':\n          description: d\n          content:\n            \
                     application/json: {{schema: {{$ref: '#/components/schemas/S'}}}}\n"
                )
            })
            .collect();
        format!(
            "openapi: 3.0.3\ninfo: {{title: t, version: '1'}} # a comment\npaths:\n{paths}components: {{schemas: {{S: {schema}}}}}\n"
        )
    }

    fn page(path: &str, yaml: &str) -> String {
        format!("# A page\n\n````yaml GET {path}\n{yaml}\n````\n")
    }

    /// Imports files with these names and texts. Returns the list of sources, as `file: operations`.
    fn import(
        place: &(tempfile::TempDir, Project),
        files: &[(&str, &str)],
        more: Options,
    ) -> Result<Vec<String>> {
        let given = place.0.path().join("given");
        let sources = files.iter().map(|(name, text)| {
            fs::create_dir_all(given.join(name).parent().unwrap()).unwrap();
            fs::write(given.join(name), text).unwrap();
            given.join(name)
        });
        let sources: Vec<_> = sources.collect();
        let prefer = more.prefer.clone().map(|name| given.join(name));
        let plan = place.1.plan(&Options { sources, prefer, ..more })?;
        place.1.write(&plan)?;
        let again = place.1.vendored()?;
        assert_eq!(again.document, plan.vendored.document, "what was planned is what is read");
        Ok(plan
            .sources
            .sources
            .iter()
            .map(|source| format!("{}: {}", source.file, source.operations.join(", ")))
            .collect())
    }

    #[test]
    fn every_source_is_vendored_byte_for_byte() {
        let place = project();
        let (one, other) = (document(&["/a"], "{type: string}"), document(&["/b", "/c"], "{type: string}"));
        let list =
            import(&place, &[("a.md", &page("/a", &one)), ("b.yaml", &other)], Options::default()).unwrap();
        assert_eq!(list, ["a.yaml: GET /a", "b.yaml: GET /b, GET /c"]);
        let vendored = |name| fs::read_to_string(place.0.path().join("api").join(name)).unwrap();
        assert_eq!([vendored("a.yaml"), vendored("b.yaml")], [one.clone(), other]);
        let again = import(&place, &[("a.md", &page("/a", &one))], Options::default()).unwrap();
        assert_eq!(again, list, "a second import changes nothing");
        fs::write(place.0.path().join("api/b.yaml"), "openapi: 3.0.3\n").unwrap();
        let error = place.1.vendored().unwrap_err().to_string();
        assert!(error.contains("api/b.yaml is not the file that api/s.toml records"), "{error}");
    }

    #[test]
    fn a_new_version_replaces_the_file_with_its_operations_its_origin_or_its_name() {
        let place = project();
        let origins = || vec!["https://example.com/a".to_owned(), "https://example.com/b".to_owned()];
        let s = "{type: string}";
        let files = [("a.md", page("/a", &document(&["/a"], s))), ("b.yaml", document(&["/b", "/c"], s))];
        let files = [(files[0].0, &files[0].1[..]), (files[1].0, &files[1].1[..])];
        import(&place, &files, Options { origins: origins(), ..Options::default() }).unwrap();
        let one = |name: &str, text: &str, origins: &[String]| {
            import(&place, &[(name, text)], Options { origins: origins.to_vec(), ..Options::default() })
                .unwrap()
        };
        let with_b = |first: &str| vec![first.to_owned(), "b.yaml: GET /b, GET /c".to_owned()];
        // The page has another name and one operation more.
        let renamed = page("/a", &document(&["/a", "/d"], s));
        assert_eq!(one("renamed.md", &renamed, &[]), with_b("a.yaml: GET /a, GET /d"));
        // Its operation has another path.
        assert_eq!(
            one("x.md", &page("/v2", &document(&["/v2"], s)), &origins()[..1]),
            with_b("a.yaml: GET /v2")
        );
        // The document has the same name, and an operation more.
        let more = document(&["/b", "/e"], s);
        assert_eq!(one("b.yaml", &more, &[])[1], "b.yaml: GET /b, GET /e");
        // The same name, but nothing in common: another document of the vendor.
        let other = one("elsewhere/b.yaml", &document(&["/z"], s), &[]);
        assert_eq!(other[1..], ["b.yaml: GET /b, GET /e", "b-2.yaml: GET /z"]);
    }

    #[test]
    fn a_preference_is_recorded_with_its_reason_and_decides_from_then_on() {
        let place = project();
        let (one, other) = (document(&["/a"], "{type: string}"), document(&["/a", "/b"], "{type: integer}"));
        let files = [("a.yaml", &one[..]), ("b.yaml", &other[..])];
        let error = import(&place, &files, Options::default()).unwrap_err();
        assert!(error.is::<crate::merge::Conflicts>(), "{error}");
        assert!(!place.1.sources_file().exists(), "nothing was written");
        let prefer = |reason: Option<&str>| Options {
            prefer: Some("b.yaml".into()),
            reason: reason.map(str::to_owned),
            ..Options::default()
        };
        let error = import(&place, &files, prefer(None)).unwrap_err().to_string();
        assert!(error.contains("--reason"), "{error}");
        let list = import(&place, &files, prefer(Some("newer"))).unwrap();
        assert_eq!(list, ["a.yaml: ", "b.yaml: GET /a, GET /b"]);
        let text = fs::read_to_string(place.1.sources_file()).unwrap();
        assert!(text.contains("reason = \"newer\"") && text.contains("left_out = \"a.yaml\""), "{text}");
        let list =
            import(&place, &[("b.yaml", &document(&["/a", "/b"], "{type: number}"))], Options::default())
                .unwrap();
        assert_eq!(list, ["a.yaml: ", "b.yaml: GET /a, GET /b"]);
        let error = import(
            &place,
            &[("a.yaml", &one)],
            Options { prefer: Some("c.yaml".into()), ..Options::default() },
        );
        assert!(error.unwrap_err().to_string().contains("is not one of the sources"));
    }

    #[test]
    fn a_selection_of_operations_is_kept_for_the_next_version() {
        let place = project();
        let only = Options { only: vec!["GET /b".to_owned()], ..Options::default() };
        let three = document(&["/a", "/b", "/c"], "{type: string}");
        assert_eq!(import(&place, &[("x.yaml", &three)], only).unwrap(), ["x.yaml: GET /b"]);
        let four = document(&["/a", "/b", "/c", "/d"], "{type: integer}");
        assert_eq!(import(&place, &[("x.yaml", &four)], Options::default()).unwrap(), ["x.yaml: GET /b"]);
        let document = place.1.vendored().unwrap().document;
        assert_eq!(operations(&document), ["GET /b"]);
        assert_eq!(document["components"]["schemas"]["S"]["type"], "integer");
        let missing = Options { only: vec!["GET /nothing".to_owned()], ..Options::default() };
        let error = import(&place, &[("x.yaml", &four)], missing).unwrap_err().to_string();
        assert!(error.contains("no source has the operation GET /nothing"), "{error}");
    }

    #[test]
    fn a_place_is_located_in_the_file_that_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.md"), folder.path().join("b.yaml"));
        fs::write(&a, page("/a", &document(&["/a"], "{type: string}"))).unwrap();
        fs::write(&b, document(&["/b"], "{type: string}")).unwrap();
        let place = |sources: &[&PathBuf], pointer| {
            let sources = sources.iter().map(|path| (*path).clone()).collect();
            let plan = Plan::without_project(&Options { sources, ..Options::default() }).unwrap();
            let (file, line) = plan.vendored.locate(pointer);
            format!("{}:{line}", Path::new(&file).file_name().unwrap().display())
        };
        assert_eq!(place(&[&a], "/info/title"), "a.md:5");
        assert_eq!(place(&[&a, &b], "/paths/~1b/get/responses"), "b.yaml:6");
        assert_eq!(place(&[&a, &b], "/components/schemas/S"), "a.md:14");
    }

    #[test]
    fn origins_are_given_for_all_sources_or_for_none() {
        let place = project();
        let one = document(&["/a"], "{type: string}");
        let origins = Options { origins: vec!["https://example.com".to_owned(); 2], ..Options::default() };
        let error = import(&place, &[("a.yaml", &one)], origins).unwrap_err().to_string();
        assert!(error.contains("1 sources, but 2 --origin"), "{error}");
    }
}
