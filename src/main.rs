//! The binary: reads the command line, hands it to the library, and exits with what comes back.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(pgkeep::command::main(std::env::args_os()).number())
}
