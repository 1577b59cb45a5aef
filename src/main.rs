//! Arguments -> library -> error report and exit code.

use std::process::ExitCode;

use clap::Parser;
use score_sde::cli::Arguments;

fn main() -> ExitCode {
    match Arguments::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            eprintln!("{:?}", miette::Report::new(error));
            ExitCode::from(code)
        }
    }
}
