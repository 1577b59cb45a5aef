//! `score-sde plot`: figures of an experiment or a run.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Machine, Overrides};
use crate::error::{Error, Result};
use crate::experiment::{self, Override};
use crate::figures;
use crate::plot;
use crate::plot::chart::Sheet;
use crate::report;
use crate::run::{EXPERIMENT, Run, replace};
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    /// An experiment, a TOML file, or a run folder.
    source: PathBuf,
    /// What is drawn [default: all that there is of the source].
    #[arg(value_enum)]
    figures: Vec<Figure>,
    /// The folder of the figures [default: plots in the run, or plots/<file's stem>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// α, σ, g, the log-SNR, the weighting and the law of t.
    Schedules,
    /// What a run logged.
    Curves,
    /// Of a score of the plane: density and data, the score at two levels of noise, the lines of the flow.
    Plane,
    /// Of a score of vectors: the process, samples and the flow in time.
    Paths,
}

impl Figure {
    fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

pub fn plot(Arguments { source, figures: asked, out, set, machine }: Arguments) -> Result<()> {
    let is_run = source.join(EXPERIMENT).is_file();
    let out = out.unwrap_or_else(|| match is_run {
        true => source.join("plots"),
        false => Path::new("plots").join(source.file_stem().unwrap_or_default()),
    });
    let all = || Figure::value_variants().to_vec();
    let mut drawn = false;
    for figure in if asked.is_empty() { all() } else { asked.clone() } {
        let sheet = match is_run {
            true => of_run(figure, &source, &machine)?,
            false => of_experiment(figure, &source, &set.overrides, &machine)?,
        };
        match sheet {
            Some(sheet) => save(&sheet, &out, &figure.name())?,
            None if asked.is_empty() => continue,
            None => return Err(nothing(figure, &source)),
        }
        drawn = true;
    }
    if drawn { Ok(()) } else { Err(nothing(Figure::Schedules, &source)) }
}

fn nothing(figure: Figure, source: &Path) -> Error {
    let help = match figure {
        Figure::Schedules => "schedules are of experiments with [sde]",
        Figure::Curves => "curves are of runs that logged something: give a run folder",
        Figure::Plane => "this is drawn of a score of vectors in the plane that is told nothing: of a run, or of a known score",
        Figure::Paths => "these are drawn of a score of vectors that is told nothing: of a run, or of a known score",
    };
    Error::Usage { message: format!("there are no {} of {}", figure.name(), source.display()), help: help.into() }
}

fn of_run(figure: Figure, source: &Path, machine: &Machine) -> Result<Option<Sheet>> {
    if figure == Figure::Curves {
        return report::curve_sheet(&Run::reading(source)?);
    }
    if figure == Figure::Schedules {
        let loaded = experiment::load_run(&Run::reading(source)?, &[], &[], false)?;
        return Ok(figures::schedules(&loaded.plan));
    }
    let (session, _) = Session::open(source, machine.clone().into())?;
    of_session(figure, &session)
}

fn of_experiment(figure: Figure, source: &Path, overrides: &[Override], machine: &Machine) -> Result<Option<Sheet>> {
    let loaded = experiment::load(source, overrides)?;
    if figure == Figure::Schedules {
        return Ok(figures::schedules(&loaded.plan));
    }
    // What is not trained yet has no score to draw.
    if loaded.plan.train().is_some() || figure == Figure::Curves {
        return Ok(None);
    }
    of_session(figure, &Session::new(&loaded, machine.clone().into()))
}

fn of_session(figure: Figure, session: &Session) -> Result<Option<Sheet>> {
    match figure {
        Figure::Plane => figures::plane(session),
        Figure::Paths => figures::paths(session),
        Figure::Schedules | Figure::Curves => unreachable!("they need no session"),
    }
}

/// As pixels and as vectors.
fn save(sheet: &Sheet, folder: &Path, name: &str) -> Result<()> {
    let files = [("png", plot::png(&sheet.picture())), ("svg", sheet.svg().into_bytes())];
    files.iter().try_for_each(|(ending, bytes)| {
        let path = folder.join(format!("{name}.{ending}"));
        replace(&path, |file| file.write_all(bytes))?;
        println!("{}", path.display());
        Ok(())
    })
}
