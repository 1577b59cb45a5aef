//! Arguments -> library -> error report and exit code.

#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "an allocator is unsafe by its nature")]
mod allocator;

use std::io;
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Parser;
use miette::MietteHandlerOpts;
use score_sde::cli::Arguments;
use score_sde::error::Error;
use score_sde::memory;
use score_sde::net::torchscript;
use textwrap::WordSeparator::AsciiSpace;
use textwrap::WordSplitter::NoHyphenation;

/// What the first panic said; others follow from it.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

fn main() -> ExitCode {
    panic::set_hook(Box::new(remember));
    // Lines end between words: a name that is broken can't be copied.
    let whole = || MietteHandlerOpts::new().break_words(false).word_separator(AsciiSpace).word_splitter(NoHyphenation).build();
    let _ = miette::set_hook(Box::new(move |_| Box::new(whole())));
    match panic::catch_unwind(|| Arguments::parse().execute()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => report(error),
        Err(_) => {
            let said = PANIC.lock().unwrap_or_else(|broken| broken.into_inner()).take().unwrap_or_default();
            let error = memory::ran_out(&said).or_else(|| torchscript::failed(&said));
            error.map(report).or_else(|| unwritten(&said)).unwrap_or_else(|| bug(&said))
        }
    }
}

fn remember(info: &PanicHookInfo) {
    let place = info.location().map_or(String::new(), |place| format!("{}:{}: ", place.file(), place.line()));
    let text = info.payload().downcast_ref::<String>().map(String::as_str);
    let said = text.or(info.payload().downcast_ref::<&str>().copied()).unwrap_or("nothing was said");
    PANIC.lock().unwrap_or_else(|broken| broken.into_inner()).get_or_insert(format!("{place}{said}"));
}

fn report(error: Error) -> ExitCode {
    let code = error.exit_code();
    if matches!(&error, Error::Rank { message, .. } if message.is_empty()) {
        return ExitCode::from(code);
    }
    eprintln!("{:?}", miette::Report::new(error));
    ExitCode::from(code)
}

/// Of a panic that standard output brought about, which `print!` can't refuse.
fn unwritten(said: &str) -> Option<ExitCode> {
    let (_, reason) = said.split_once("failed printing to stdout: ")?;
    let number = reason.rsplit_once("(os error ")?.1.trim_end_matches(')').parse().ok()?;
    let reason = io::Error::from_raw_os_error(number);
    Some(match reason.kind() {
        // Whoever reads has enough: the exit code of a program that SIGPIPE ends.
        io::ErrorKind::BrokenPipe => ExitCode::from(141),
        _ => report(Error::io("write to", "standard output", reason)),
    })
}

/// A panic is a mistake of this program, never of its user. 101 is Rust's exit code for it.
fn bug(said: &str) -> ExitCode {
    eprintln!("  × score-sde {} made a mistake and stopped: {}", env!("CARGO_PKG_VERSION"), said.lines().next().unwrap_or_default());
    eprintln!("  help: what was saved before is intact; please report this line with the command and the experiment file");
    ExitCode::from(101)
}
