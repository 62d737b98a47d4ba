//! In place of `staging` in a program without the feature `stage`: there are no options.

use clap::Args;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Staging {}

impl Staging {
    pub(crate) fn set_default(&mut self, _: String) {}
}
