//! `akool completions` and `akool man`: files that packages install beside the program.

use std::io;

use clap::CommandFactory;

use crate::{
    args::{Cli, Completions, Man},
    outcome::Outcome,
    report::Report,
};

pub(crate) fn completions(options: &Completions, report: &Report) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "akool", &mut script);
    report.line(String::from_utf8_lossy(&script).trim_end());
    Outcome::Done
}

/// Writes one page for the program and one for each command.
pub(crate) fn man(options: &Man, report: &Report) -> Outcome {
    let folder = &options.folder;
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    match write() {
        Ok(()) => {
            report.line(format_args!("wrote the man pages to {}", folder.display()));
            Outcome::Done
        }
        Err(error) => {
            let shown = folder.display();
            report.error(
                None,
                "usage",
                format_args!("cannot write the man pages to {shown}: {error}; choose another folder"),
            );
            Outcome::Usage
        }
    }
}
