//! A session of a family that draws and measures by itself.

use super::{Session, Subject};
use crate::error::{Error, Result};
use crate::experiment::Family;
use crate::generator::Generator;
use crate::likelihood::{self, Densities, Density};
use crate::run::log::Curves;
use crate::run::{Journal, Run};
use crate::sample::{self, Draw, Samples};

impl Session {
    /// The family with its present weights. Error: it is a score, which draws and measures by a solver.
    pub fn generator(&self) -> Result<&dyn Generator> {
        match &self.subject {
            Subject::Generator(network) => Ok(&*network.law),
            Subject::Known(..) | Subject::Score(..) | Subject::Classifier(..) => Err(Error::Usage {
                message: "the experiment's family does not draw by itself".into(),
                help: "of a score, ask for its model, with the keys of [sample] or [likelihood]".into(),
            }),
        }
    }

    /// Draws samples. Error: `spec` can't work.
    pub fn draw(&self, spec: &Draw) -> Result<Samples> {
        spec.check().map_err(|fault| fault.within("draw"))?;
        sample::draw(spec, self.plan.seed, self.generator()?, &self.shape, &mut Journal::nowhere(), &self.terminal)
    }

    /// As [`sample_into`](Session::sample_into).
    pub fn draw_into(&self, spec: &Draw, run: &Run, place: &Run, name: &str, curves: Curves) -> Result<bool> {
        let of = spec.subject(self.plan.seed, self.average(run)?);
        let generator = self.generator()?;
        self.save_samples(spec, of, (run, place, name), curves, |journal| {
            sample::draw(spec, self.plan.seed, generator, &self.shape, journal, &self.terminal)
        })
    }

    /// The part that another process than rank 0 has in [`draw_into`](Session::draw_into).
    pub fn help_draw(&self, spec: &Draw, run: &Run) -> Result<()> {
        self.average(run)?;
        let mut journal = Journal::nowhere().among(&self.ranks);
        sample::draw(spec, self.plan.seed, self.generator()?, &self.shape, &mut journal, &self.terminal).map(drop)
    }

    /// Measures the likelihood with the weights of `run`; what is measured is kept in `<name>.journal` in `place`. Error: `spec` can't work.
    pub fn density(&self, spec: &Density, run: &Run, place: &Run, name: &str) -> Result<Densities> {
        if let Family::Generator(family, _) = &self.plan.family {
            spec.check(self.scale(), family).map_err(|fault| fault.within("density"))?;
        }
        let of = spec.subject(self.plan.seed, self.average(run)?);
        let mut journal = self.journal(place, &format!("{name}.journal"), &of)?;
        let data = (&*self.dataset(spec.split)?, self.scale());
        likelihood::density(spec, self.plan.seed, self.generator()?, data, self.device(), &mut journal, &self.terminal)
    }
}
