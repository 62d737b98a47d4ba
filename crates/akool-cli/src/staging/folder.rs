//! A folder of this machine as a source: [`Staging::sources`].

use std::{fs, path::Path};

use akool_stage::is_video;

use super::{Staging, explain};
use crate::args;

impl Staging<'_> {
    /// The videos that a text of the command line names: those of a folder in the order of their names, without those of
    /// folders in it and without hidden files. Anything else names itself.
    ///
    /// # Errors
    /// If the folder cannot be read or has no videos, as a message.
    pub(crate) fn sources(&self, named: &str) -> Result<args::Sources, String> {
        let folder = Path::new(named);
        if self.location.is_none() || named.contains("://") || !folder.is_dir() {
            return Ok(args::Sources { urls: vec![named.to_owned()], left_out: Vec::new() });
        }
        let shown = akool::redact::excerpt(named);
        let failed = |error| format!("cannot read the folder {shown}: {error}; check its permissions");
        let entries =
            fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.file_name()).collect();
        names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
        names.sort();
        let mut sources = args::Sources::default();
        for path in names.into_iter().map(|name| folder.join(name)).filter(|path| !path.is_dir()) {
            // It is refused later if it is not what it seems.
            match is_video(&path) {
                Ok(true) => match path.to_str() {
                    Some(path) => sources.urls.push(path.to_owned()),
                    None => {
                        return Err(format!("{} has a name that is not UTF-8; rename it", path.display()));
                    }
                },
                Ok(false) => sources.left_out.push(format!("{} is not a video", path.display())),
                Err(error) => sources.left_out.push(explain(error)),
            }
        }
        if sources.urls.is_empty() {
            return Err(format!("the folder {shown} has no videos; folders in it are not searched"));
        }
        Ok(sources)
    }
}
