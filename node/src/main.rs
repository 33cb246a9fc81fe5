//! The binary `murmur`: everything is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::cli::main()
}
