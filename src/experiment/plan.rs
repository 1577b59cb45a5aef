//! The experiment as it is checked: what one of several tables must give is there.

use super::written::Experiment;
use crate::analytic::AnalyticVariance;
use crate::classifier;
use crate::data::{ConditionSpec, Data, Split, Summary};
use crate::dequantisation::{DequantisationSpec, Variational};
use crate::error::Fault;
use crate::evaluation::Evaluate;
use crate::generator::GeneratorSpec;
use crate::guidance::Guidance;
use crate::latent::{self, Source, SpaceSpec};
use crate::law::GaussianMixture;
use crate::likelihood::{Density, Dequantisation, Likelihood};
use crate::loss::TimeSpec;
use crate::model::{Parametrisation, Precondition, ScoreSpec};
use crate::net::{Interface, NetworkSpec};
use crate::sample::{Draw, Sample};
use crate::sde::{SdeSpec, Variance};
use crate::solver::{AnnealedLangevin, SolverSpec};
use crate::space::Scale;
use crate::train::{ScoreMatching, Train};

/// What a run does. The list of its phases is made of it by [`crate::phase::phases`], which stand above sessions, as these stand above plans.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub data: Data,
    /// What a score is told of each example.
    pub condition: Option<ConditionSpec>,
    /// Where a score lives, if that is not the data's own space.
    pub latent: Option<latent::Spec>,
    pub family: Family,
    /// Beside a score.
    pub classifier: Option<classifier::Spec>,
    /// Of a score.
    pub analytic_variance: Option<AnalyticVariance>,
    pub sample: Option<Sample>,
    pub dequantisation: Option<Variational>,
    pub likelihood: Option<Likelihood>,
    /// Of a family that draws and measures by itself.
    pub draw: Option<Draw>,
    pub density: Option<Density>,
    /// Of the samples of either.
    pub evaluate: Option<Evaluate>,
}

/// What samples and has a density.
#[derive(Clone, Debug)]
pub enum Family {
    /// A score that is known, under its process.
    Known(SdeSpec, ScoreSpec),
    /// A score network.
    Score(Box<Learned>),
    /// A family that draws and measures by itself.
    Generator(GeneratorSpec, Train),
    /// No law, but the classes of x under a process.
    Classifier(SdeSpec, classifier::Spec),
}

/// A network, how it becomes a score of its process, and how it is trained; not at all where its weights come with it.
#[derive(Clone, Debug)]
pub struct Learned {
    pub sde: SdeSpec,
    pub network: NetworkSpec,
    pub parametrisation: Parametrisation,
    pub training: Option<(ScoreMatching, Train)>,
}

impl Learned {
    /// Trainable parameters of the network for data of `shape` and conditions of so many numbers.
    pub fn parameter_count(&self, shape: &[usize], condition: usize) -> usize {
        self.network.parameter_count(&Interface { shape, outputs: self.parametrisation.outputs(), condition })
    }
}

impl Plan {
    /// The process, if there is one.
    pub fn sde(&self) -> Option<&SdeSpec> {
        match &self.family {
            Family::Known(sde, _) | Family::Classifier(sde, _) => Some(sde),
            Family::Score(learned) => Some(&learned.sde),
            Family::Generator(..) => None,
        }
    }

    /// The training; none where the score is known, or its network's weights are.
    pub fn train(&self) -> Option<&Train> {
        match &self.family {
            Family::Known(..) => None,
            Family::Score(learned) => learned.training.as_ref().map(|(_, train)| train),
            Family::Generator(_, train) => Some(train),
            Family::Classifier(_, spec) => Some(&spec.train),
        }
    }

    /// The split whose likelihood is asked for.
    pub fn measured(&self) -> Option<Split> {
        self.likelihood.as_ref().map(|likelihood| likelihood.split).or(self.density.as_ref().map(|density| density.split))
    }

    /// The scale of what a score is asked for: latent variables are vectors of their own units.
    pub fn scale(&self) -> Scale {
        model_scale(&self.data, self.latent.is_some())
    }

    /// The law of what the score is of, where it is a known mixture.
    pub fn law(&self) -> Option<GaussianMixture> {
        model_law(&self.data, self.latent.is_some())
    }

    /// What can only be known of the data: their shape, that of the score's space, how many numbers a condition has, and the split whose
    /// likelihood is asked for.
    pub fn check_against(&self, data: &[usize], shape: &[usize], condition: usize, measured: Option<&Summary>) -> Result<(), Fault> {
        self.check_conditions(condition)?;
        match &self.family {
            Family::Known(_, score) => score.check(shape).map_err(|fault| fault.within("score"))?,
            Family::Score(learned) => {
                learned.network.check(shape).map_err(|fault| fault.within("network"))?;
                if let Some((matching, _)) = &learned.training {
                    let dimension = shape.iter().product();
                    matching.objective.check_dimension(dimension).map_err(|fault| fault.within("train.objective"))?;
                }
            }
            Family::Generator(generator, _) => generator.check(data, self.data.scale())?,
            Family::Classifier(_, classifier) => classifier.check_against(shape).map_err(|fault| fault.within("classifier"))?,
        }
        if let Some(classifier) = &self.classifier {
            classifier.check_against(shape).map_err(|fault| fault.within("classifier"))?;
        }
        if let Some(Guidance::Product(factor)) = self.sample.as_ref().and_then(|sample| sample.guidance.as_ref()) {
            factor.check_against(data.iter().product()).map_err(|fault| fault.within("sample.guidance.product"))?;
        }
        let Some(split) = measured else { return Ok(()) };
        if let Some(likelihood) = &self.likelihood {
            likelihood.check_against(split, data).map_err(|fault| fault.within("likelihood"))?;
        }
        match &self.density {
            Some(density) => density.check_against(split, data).map_err(|fault| fault.within("density")),
            None => Ok(()),
        }
    }
}

impl Experiment {
    /// Everything that can be wrong without the data at hand.
    pub fn plan(&self) -> Result<Plan, Fault> {
        if let Some(sde) = &self.sde {
            sde.check().map_err(|fault| fault.within("sde"))?;
        }
        self.data.check().map_err(|fault| fault.within("data"))?;
        let latent = self.space.as_ref().map(|SpaceSpec::Latent(spec)| spec.clone());
        if let Some(latent) = &latent {
            latent.check().map_err(|fault| fault.within("space.latent"))?;
            if let Ok(Source::Trained(vae, _)) = latent.source() {
                self.check_noise(&GeneratorSpec::Vae(vae.clone()))?;
            }
        }
        let family = self.family()?;
        match &family {
            Family::Known(sde, _) => self.check_of_score(sde)?,
            Family::Score(learned) => self.check_of_score(&learned.sde)?,
            Family::Generator(generator, _) => self.check_of_generator(generator)?,
            Family::Classifier(..) => {}
        }
        if let Some(classifier) = &self.classifier {
            self.check_classifier(classifier).map_err(|fault| fault.within("classifier"))?;
        }
        self.check_drawn_early()?;
        if let Some(evaluate) = &self.evaluate {
            let drawn = self.sample.as_ref().map(|sample| sample.count).or(self.draw.as_ref().map(|draw| draw.count));
            let checkpoints = self.train.as_ref().map(|train| train.checkpoint_every);
            evaluate.check(drawn, checkpoints).map_err(|fault| fault.within("evaluate"))?;
        }
        let dequantisation = self.dequantisation.as_ref().map(|DequantisationSpec::Variational(spec)| spec.clone());
        let classifier = self.classifier.clone().filter(|_| !matches!(family, Family::Classifier(..)));
        let Experiment { seed, data, condition, analytic_variance, sample, likelihood, draw, density, evaluate, .. } = self.clone();
        Ok(Plan {
            seed,
            data,
            condition,
            latent,
            family,
            classifier,
            analytic_variance,
            sample,
            dequantisation,
            likelihood,
            draw,
            density,
            evaluate,
        })
    }

    /// What is asked of a score.
    fn check_of_score(&self, sde: &SdeSpec) -> Result<(), Fault> {
        let (sde, scale) = (sde.get(), model_scale(&self.data, self.space.is_some()));
        let levels = self.precondition.as_ref().and_then(Precondition::levels);
        if let Some(analytic) = &self.analytic_variance {
            analytic.check(sde, levels).map_err(|fault| fault.within("analytic_variance"))?;
        }
        if let Some(sample) = &self.sample {
            sample.check(scale, sde, levels).map_err(|fault| fault.within("sample"))?;
            if sample.measurement.is_some() && self.space.is_some() {
                let message = "the measurement is linear in the data, and the score is of latent variables";
                return Err(Fault::new("sample.measurement", message, "remove it, or [space.latent]"));
            }
        }
        if let Some(likelihood) = &self.likelihood {
            likelihood.check(scale, self.space.is_some(), sde, levels).map_err(|fault| fault.within("likelihood"))?;
            if matches!(likelihood.dequantisation, Dequantisation::Variational { .. }) && self.dequantisation.is_none() {
                let help = "give [dequantisation.variational] with its keys, or use uniform = { draws = 1 }";
                return Err(Fault::new("likelihood.dequantisation", "nothing trains the law of this dequantisation", help));
            }
        }
        self.check_one_level()?;
        self.check_variances()?;
        self.check_condition()?;
        match &self.dequantisation {
            None => Ok(()),
            Some(spec) => {
                let message = "this dequantisation is trained on a bound, which is of processes with normal noise";
                sde.check_score("dequantisation", message, "remove [dequantisation]; likelihood.dequantisation can be uniform")?;
                spec.check(scale).map_err(|fault| fault.within("dequantisation"))
            }
        }
    }

    /// A score that is trained at one level knows no other.
    fn check_one_level(&self) -> Result<(), Fault> {
        let Some(TimeSpec::Level { t }) = self.train.as_ref().and_then(|train| train.time.as_ref()) else { return Ok(()) };
        if self.likelihood.is_some() {
            let message = format!("the score is trained at t = {t} alone, and the likelihood needs it at all times");
            return Err(Fault::new("likelihood", message, "remove [likelihood], or train at all times: train.time = \"uniform\""));
        }
        match &self.sample {
            Some(Sample { solver: SolverSpec::AnnealedLangevin(AnnealedLangevin { levels: 1, .. }), t_min, .. }) if t_min == t => Ok(()),
            None => Ok(()),
            Some(_) => {
                let message = format!("the score is trained at t = {t} alone, and these samples need it elsewhere");
                Err(Fault::new("sample", message, format!("use solver.annealed-langevin with levels = 1, and t_min = {t}")))
            }
        }
    }

    /// Whoever asks for a variance that is measured or learnt needs what it is made of.
    fn check_variances(&self) -> Result<(), Fault> {
        let sampled = self.sample.as_ref().and_then(|sample| sample.solver.variance()).map(|variance| ("sample.solver", variance));
        let bound = self.likelihood.as_ref().and_then(|likelihood| likelihood.bound.as_ref()?.variance());
        let asked = sampled.into_iter().chain(bound.map(|variance| ("likelihood.bound", variance)));
        let learned = self.precondition.as_ref().is_some_and(Precondition::learns_variance);
        for (key, variance) in asked {
            if variance == Variance::Analytic && self.analytic_variance.is_none() {
                let help = "give [analytic_variance] with levels, examples and batch, or use the variance \"beta-tilde\"";
                return Err(Fault::new(key, "nothing measures what its analytic variance is made of", help));
            }
            let as_measured = self.sample.as_ref().is_some_and(|sample| sample.given.is_some() && sample.guidance.is_none());
            if variance == Variance::Analytic && key == "sample.solver" && self.condition.is_some() && !as_measured {
                let message = "the analytic variance is measured of a network that is told its condition, and without guidance";
                return Err(Fault::new(key, message, "give sample.given, and no sample.guidance, or use the variance \"beta-tilde\""));
            }
            if variance == Variance::Learned && !learned {
                let help = "give [precondition.discrete] variance = \"learned\" and an objective that trains it, or use \"beta-tilde\"";
                return Err(Fault::new(key, "the network says no variance that could be the learned one", help));
            }
        }
        Ok(())
    }

    /// A density needs points.
    fn check_noise(&self, generator: &GeneratorSpec) -> Result<(), Fault> {
        if !generator.of_pixels() && matches!(self.data.scale(), Scale::Pixels { dequantise: false, .. }) {
            let message = "a density of pixels without noise has no bound: training would raise it without end";
            return Err(Fault::new(format!("data.{}.dequantise", self.data.name()), message, "give true"));
        }
        Ok(())
    }

    /// What is asked of a family that draws and measures by itself.
    fn check_of_generator(&self, generator: &GeneratorSpec) -> Result<(), Fault> {
        if let Some(draw) = &self.draw {
            draw.check().map_err(|fault| fault.within("draw"))?;
        }
        self.check_noise(generator)?;
        match &self.density {
            None => Ok(()),
            Some(density) => density.check(self.data.scale(), generator).map_err(|fault| fault.within("density")),
        }
    }
}

/// The law of what a score is of, where it is a known mixture.
pub(super) fn model_law(data: &Data, latent: bool) -> Option<GaussianMixture> {
    data.law().filter(|_| !latent)
}

fn model_scale(data: &Data, latent: bool) -> Scale {
    if latent { Scale::Vectors { scale: 1.0 } } else { data.scale() }
}
