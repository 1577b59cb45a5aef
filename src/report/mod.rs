//! Pages about runs: one run with all that is known of it, or several compared.

mod beside;
mod compare;
mod curves;
mod facts;
mod page;
mod results;
mod sweep;

pub use compare::{Comparison, compare};
pub use curves::curve_sheet;
pub use page::Page;
pub use sweep::{SweepTable, Swept, sweep_table};

use self::page::{Block, Figure, Picture, Section};
use crate::error::{Error, Result};
use crate::experiment;
use crate::figures;
use crate::plot;
use crate::plot::chart::Sheet;
use crate::progress::Terminal;
use crate::run::{Measured, Overview, Run};
use crate::session::{Machine, Session};

/// All that is known of a run, by its files; of images with the training examples that are nearest to samples, where the data are at hand.
pub fn of_run(run: &Run, terminal: &Terminal) -> Result<Page> {
    let mut curves = Section::new("Curves");
    curves.charts(curves::charts(&curves::curves(run)?));
    let overview = run.overview()?;
    Ok(Page {
        title: run.path().display().to_string(),
        subtitle: format!("{} on {}, {}", overview.model, overview.data, overview.state.name()),
        figures: key_figures(&overview),
        sections: vec![
            results::samples(run)?,
            beside::training_examples(run, terminal)?,
            results::likelihoods(run)?,
            results::evaluation(run)?,
            curves,
            process(run)?,
            facts::experiment(run)?,
            facts::environment(run)?,
            facts::hashes(run)?,
        ],
    })
}

/// The schedules, and of a score of vectors its plane and its paths; where these can't be drawn, why.
fn process(run: &Run) -> Result<Section> {
    let mut section = Section::new("Process and score");
    let loaded = experiment::load_run(run, &[], &[], false)?;
    section.charts(figures::schedules(&loaded.plan).map_or(Vec::new(), Sheet::apart));
    let drawn = || {
        let (session, _) = Session::open(run.path(), Machine::default())?;
        Ok::<_, Error>([figures::plane(&session)?, figures::paths(&session)?])
    };
    if loaded.shape.len() > 1 {
        return Ok(section);
    }
    match drawn() {
        Err(error) => section.blocks.push(Block::Text(format!("The score can't be drawn: {error}."))),
        Ok(sheets) => {
            let picture = |sheet: Sheet| Block::Picture(Picture::of_png(&plot::png(&sheet.picture()), String::new()));
            section.blocks.extend(sheets.into_iter().flatten().map(picture));
        }
    }
    Ok(section)
}

fn key_figures(overview: &Overview) -> Vec<Figure> {
    let mut figures = vec![Figure::new("model", overview.model.clone()), Figure::new("data", overview.data.clone())];
    if overview.planned > 0 {
        figures.push(Figure::new("steps", format!("{} of {}", overview.steps, overview.planned)));
    }
    figures.extend(overview.likelihood.as_ref().map(|measured| Figure::new("-ln p", Measured::line(measured))));
    figures.extend(overview.samples.map(|count| Figure::new("samples", count.to_string())));
    figures.push(Figure::new("time", results::duration(overview.seconds)));
    figures
}
