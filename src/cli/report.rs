//! `score-sde report` and `score-sde compare`: pages about runs.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Form, Voice};
use crate::error::Result;
use crate::progress::Terminal;
use crate::report::{self, Page};
use crate::run::{Run, replace};

#[derive(Args, Debug)]
pub struct Report {
    /// A run folder.
    run: PathBuf,
    /// Where the page goes [default: report.html in the run].
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    #[command(flatten)]
    voice: Voice,
}

#[derive(Args, Debug)]
pub struct Compare {
    /// Run folders; the first is what the others are judged by.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Writes a page with curves, too, an HTML file that needs no other.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

pub fn report(Report { run, page, voice }: Report) -> Result<()> {
    let run = Run::reading(&run)?;
    let path = page.unwrap_or_else(|| run.path().join("report.html"));
    write(&path, report::of_run(&run, &Terminal::new(voice.quiet))?)?;
    println!("{}", path.display());
    Ok(())
}

pub fn compare(Compare { runs, page, form }: Compare) -> Result<()> {
    let runs = runs.iter().map(|run| Run::reading(run)).collect::<Result<Vec<_>>>()?;
    let comparison = report::compare(&runs)?;
    match form.json {
        true => form.print(&json!(comparison))?,
        false => print!("{comparison}"),
    }
    page.map_or(Ok(()), |path| write(&path, comparison.page()))
}

fn write(path: &Path, page: Page) -> Result<()> {
    replace(path, |file| file.write_all(page.html().as_bytes()))
}
