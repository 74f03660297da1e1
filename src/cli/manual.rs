//! `completions` and `man`: what shells and readers of manuals want, made from the commands
//! themselves.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Arguments, Failure};

/// Prints a script that completes the commands in a shell.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "sallyport", &mut script);
    let failed = |source| Failure::Io { what: "the script could not be written", source };
    std::io::stdout().lock().write_all(&script).map_err(failed)
}

/// Writes a page of the manual for each command into `folder`, which must exist.
pub(super) fn man(folder: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::Io { what: "the manual could not be written", source };
    clap_mangen::generate_to(Arguments::command().disable_help_subcommand(true), folder)
        .map_err(failed)
}
