//! The `sallyport` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    sallyport::cli::main()
}
