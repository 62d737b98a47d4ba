//! Files of this machine: where to put them so that AKOOL can download them.

use std::time::Duration;

use clap::Args;

use super::value;

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Local files")]
pub(crate) struct Staging {
    /// Upload files of this machine here, such as s3://bucket/prefix, so that AKOOL can download them by a link that
    /// expires [default: $AKOOL_STAGE, or the configuration file]
    #[arg(long, value_name = "LOCATION")]
    pub(crate) stage: Option<String>,

    /// Do not remove the uploaded files when their jobs have ended
    #[arg(long)]
    pub(crate) keep_staged: bool,

    /// How long the links are valid, at most 7d; it must outlast the time that jobs spend in the queue [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = value::link_lifetime)]
    pub(crate) link_lifetime: Option<Duration>,

    /// Refuse files that exceed a documented limit, instead of printing a warning
    #[arg(long)]
    pub(crate) strict_limits: bool,
}

impl Staging {
    /// Sets the location if it is not set.
    pub(crate) fn set_default(&mut self, stage: String) {
        self.stage.get_or_insert(stage);
    }
}
