//! `akool completions` and `akool man`: what goes with the program when it is installed.

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

/// One page for the program and one for each command.
pub(crate) fn man(options: &Man, report: &Report) -> Outcome {
    let folder = &options.folder;
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    match write() {
        Ok(()) => {
            report.line(format_args!("man pages are in {}", folder.display()));
            Outcome::Done
        }
        Err(error) => {
            let shown = folder.display();
            report.error(
                None,
                "wrong_use",
                format_args!("cannot write man pages into {shown}: {error}; choose another folder"),
            );
            Outcome::WrongUse
        }
    }
}
