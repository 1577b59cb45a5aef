//! `score-sde new`: a first experiment for some data.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Voice;
use crate::error::{Error, Result};
use crate::experiment::{self, Draft, Process};
use crate::progress::Terminal;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The experiment to write, a TOML file that is not there yet.
    file: PathBuf,
    /// The process between data and noise.
    #[arg(long, value_enum)]
    sde: Process,
    /// A folder or zip archive of image files, an .npy, .npz, CSV or IDX file, the folder of CIFAR-10 or ImageNet; or checkerboard, two-moons,
    /// swiss-roll, spirals, rings.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// What is measured [default: what lies beside the data as test, val or validation, or else the data themselves].
    #[arg(long, value_name = "PATH")]
    test: Option<PathBuf>,
    #[command(flatten)]
    voice: Voice,
}

pub fn new(Arguments { file, sde, data, test, voice }: Arguments) -> Result<()> {
    if file.exists() {
        return Err(is_there(&file));
    }
    let terminal = Terminal::new(voice.quiet);
    let mut phase = None;
    let mut watch = |done: usize, all: usize| {
        phase.get_or_insert_with(|| terminal.phase("data", "readings", all as u64, done as u64)).set(done as u64, "");
    };
    let draft = Draft::new(sde, &data, test.as_deref(), &mut watch)?;
    if let Some(phase) = phase {
        phase.finish("");
    }
    let mut remarks = vec![format!("A first experiment for {}, written by score-sde new: change what you like.", data.display())];
    remarks.extend([draft.remark(), String::new(), format!("    score-sde run {}", file.display())]);
    if draft.is_measured_itself() {
        let line = "The likelihood is of the training examples: name others as data.*.test for that of examples which it has not seen.";
        remarks.extend([String::new(), line.into()]);
    }
    let text = draft.text(&remarks);
    experiment::parse(&file.display().to_string(), &text, &[])?;
    write(&file, &text)?;
    println!("{}", file.display());
    terminal.say(&format!("score-sde check {0} says what it does, score-sde run {0} does it", file.display()));
    let schema = file.with_file_name("schema.json");
    if !schema.exists() {
        terminal.say(&format!("for an editor: score-sde schema > {}", schema.display()));
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    let error = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => is_there(file),
        _ => Error::io("write", file, error),
    };
    let mut opened = OpenOptions::new().write(true).create_new(true).open(file).map_err(error)?;
    opened.write_all(text.as_bytes()).map_err(error)
}

fn is_there(file: &Path) -> Error {
    Error::Usage { message: format!("{} is there already", file.display()), help: "name another file, or move it away".into() }
}
