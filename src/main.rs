//! The `sallyport` program: arguments in, exit code out.

use std::process::ExitCode;

/// Chosen by measurement (docs/PERFORMANCE.md): a request makes some blocks of one to four KiB, for
/// which glibc has no fast path.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sallyport::cli::main()
}
