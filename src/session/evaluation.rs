//! A session compares samples of a run with examples of its data.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::Session;
use super::set::of_split;
use crate::data::Split;
use crate::error::{Error, Result};
use crate::evaluation::{Against, Comparison, Evaluate, Extractor, Report, Set, Settings};
use crate::run::checkpoint::Choice;
use crate::run::log::Curves;
use crate::run::{Found, Run};
use crate::sample::{Draw, Sample};

impl Session {
    /// A session of the same plan, with weights of its own and the same data.
    pub fn again(&self) -> Session {
        let Session { plan, shape, model_shape, condition, vae, machine, train, test, .. } = self;
        let of = (shape.clone(), model_shape.clone(), *condition, vae.clone());
        let shared = |set: &OnceCell<_>| set.get().cloned().map(OnceCell::from).unwrap_or_default();
        Session { train: shared(train), test: shared(test), ..Session::of(plan.clone(), of, *machine) }
    }

    /// Draws `count` samples of a checkpoint as the plan says, all checkpoints' from the same starts, and saves them as
    /// [`sample_into`](Session::sample_into) does; returns their name. The session is one that has no weights yet.
    pub fn sample_checkpoint(&self, step: u64, count: usize, run: &Run, curves: Curves) -> Result<String> {
        self.average_of(run, Choice::Step(step))?;
        let name = format!("step-{step:08}-{count}");
        match (&self.plan.sample, &self.plan.draw) {
            (Some(spec), _) => self.sample_into(&Sample { count, ..spec.clone() }, run, run, &name, curves)?,
            (None, Some(spec)) => self.draw_into(&Draw { count, ..spec.clone() }, run, run, &name, curves)?,
            (None, None) => {
                return Err(Error::Usage { message: "the experiment draws no samples".into(), help: "give it [sample], or [draw]".into() });
            }
        };
        Ok(name)
    }

    /// All that the comparison of some samples of a run depends on. Error: there are none of this name.
    pub fn evaluation_subject(&self, spec: &Evaluate, extractor: &Extractor, run: &Run, samples: &str) -> Result<Value> {
        let Found::Whole(of) = run.found(&format!("samples/{samples}"))? else {
            let help = format!("draw them: score-sde sample {}", run.path().display());
            return Err(Error::run(run.path(), format!("has no samples named {samples}, or damaged ones"), help));
        };
        let Evaluate { against, examples, neighbours, copies, classes, .. } = spec;
        let how = json!({ "against": against, "examples": examples, "neighbours": neighbours, "copies": copies, "classes": classes });
        let (seed, weights) = (self.plan.seed, &of["weights"]);
        // Wherever their file is.
        let features = json!({ "protocol": extractor.source.protocol, "sha256": extractor.source.sha256 });
        Ok(json!({ "seed": seed, "weights": weights, "samples": of, "evaluate": how, "features": features }))
    }

    /// Compares some samples of a run with examples of the data.
    pub fn evaluate(&self, spec: &Evaluate, extractor: &Extractor, run: &Run, samples: &str) -> Result<Report> {
        let settings = Settings { seed: self.plan.seed, neighbours: spec.neighbours };
        let (device, terminal) = (self.device(), self.terminal());
        let comparison = Comparison { settings, extractor, batch: spec.batch, classes: spec.classes, protocol: None, device, terminal };
        let split = |split: Split| {
            let set = self.dataset(split)?;
            let name = format!("{}:{}", run.path().join("experiment.toml").display(), split.name());
            Ok::<_, Error>(of_split(name, set, &self.plan.data, split, self.plan.seed))
        };
        let a = comparison.features(Set::of_run(run, samples)?, None)?;
        let b = comparison.features(split(spec.against)?, spec.examples)?;
        let train = if spec.copies { Some(comparison.features(split(Split::Train)?, None)?) } else { None };
        comparison.report(&a, &Against::Examples(Box::new(b)), None, train.as_ref())
    }
}
