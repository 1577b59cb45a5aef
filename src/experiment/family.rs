//! Which tables make which family.

use super::plan::{Family, Learned, model_law};
use super::written::Experiment;
use crate::classifier;
use crate::error::Fault;
use crate::generator::GeneratorSpec;
use crate::model::Precondition;
use crate::sde::SdeSpec;
use crate::train::{ScoreMatching, Train};

impl Experiment {
    /// `[flow]`, `[vae]` or `[hierarchical_vae]`, and `[train]`; `[sde]` and `[score]`; or else `[sde]` and all of `[network]`,
    /// `[precondition]` and `[train]`.
    pub(super) fn family(&self) -> Result<Family, Fault> {
        let flow = self.flow.clone().map(GeneratorSpec::Flow);
        let vae = self.vae.clone().map(GeneratorSpec::Vae);
        let hierarchical = self.hierarchical_vae.clone().map(GeneratorSpec::HierarchicalVae);
        let given: Vec<GeneratorSpec> = [flow, vae, hierarchical].into_iter().flatten().collect();
        let no_score = self.score.is_none() && self.network.is_none() && self.precondition.is_none();
        match (&given[..], &self.classifier) {
            ([], Some(classifier)) if no_score => self.classifier(classifier),
            _ => self.with_law(&given),
        }
    }

    fn with_law(&self, given: &[GeneratorSpec]) -> Result<Family, Fault> {
        match given {
            [] => self.score(),
            [spec] => self.generator(spec.clone()),
            [one, other, ..] => {
                let [one, other] = [one, other].map(GeneratorSpec::table);
                Err(Fault::new(other, format!("[{one}] and [{other}] are two families"), "keep one of them"))
            }
        }
    }

    /// No table of scores beside it.
    fn generator(&self, spec: GeneratorSpec) -> Result<Family, Fault> {
        let table = spec.table();
        let of_scores = [
            ("sde", self.sde.is_some(), "remove [sde]; there is no process between the data and the prior"),
            ("classifier", self.classifier.is_some(), "remove [classifier]; it guides the samples of a score"),
            ("condition", self.condition.is_some(), "remove [condition]; these families know no conditions"),
            ("space", self.space.is_some(), "remove [space]; a latent space is for a score of it"),
            ("score", self.score.is_some(), "remove one of the two"),
            ("network", self.network.is_some(), "remove [network]; the family's own keys say how large it is"),
            ("precondition", self.precondition.is_some(), "remove [precondition]"),
            ("analytic_variance", self.analytic_variance.is_some(), "remove [analytic_variance]; there are no steps of a process"),
            ("sample", self.sample.is_some(), "give [draw] instead, with count, batch and temperature"),
            ("dequantisation", self.dequantisation.is_some(), "remove [dequantisation]; density.dequantisation can be uniform"),
            ("likelihood", self.likelihood.is_some(), "give [density] instead, with split, count, batch and dequantisation"),
        ];
        if let Some((of_score, _, help)) = of_scores.into_iter().find(|(_, given, _)| *given) {
            return Err(Fault::new(of_score, format!("[{of_score}] is for scores, and [{table}] is none"), help));
        }
        let missing = || Fault::new("", "there is no [train]", format!("give [train], by which [{table}] is trained"));
        let train = self.train.as_ref().ok_or_else(missing)?;
        train.check().and_then(|()| train.check_without_score()).map_err(|fault| fault.within("train"))?;
        Ok(Family::Generator(spec, train.clone()))
    }

    /// No score beside it.
    fn classifier(&self, spec: &classifier::Spec) -> Result<Family, Fault> {
        let of_laws = [
            ("condition", self.condition.is_some()),
            ("space", self.space.is_some()),
            ("train", self.train.is_some()),
            ("analytic_variance", self.analytic_variance.is_some()),
            ("sample", self.sample.is_some()),
            ("dequantisation", self.dequantisation.is_some()),
            ("likelihood", self.likelihood.is_some()),
            ("draw", self.draw.is_some()),
            ("density", self.density.is_some()),
        ];
        if let Some((table, _)) = of_laws.into_iter().find(|(_, given)| *given) {
            let message = format!("[{table}] is for scores and other laws, and [classifier] alone is none");
            return Err(Fault::new(table, message, "remove it, or give a score: [network.*], [precondition.*] and [train]"));
        }
        let missing = || Fault::new("", "there is no [sde]", "give [sde.*], the process whose x_t are classified");
        let sde = self.sde.clone().ok_or_else(missing)?;
        self.check_classifier(spec).map_err(|fault| fault.within("classifier"))?;
        Ok(Family::Classifier(sde, spec.clone()))
    }

    fn score(&self) -> Result<Family, Fault> {
        for (table, given, instead) in [("draw", self.draw.is_some(), "sample"), ("density", self.density.is_some(), "likelihood")] {
            if given {
                let help = format!("give [{instead}] instead: a score needs a solver");
                return Err(Fault::new(table, format!("[{table}] is for families without a process, such as [flow.nice] or [vae]"), help));
            }
        }
        let missing = |table: &str, help: &str| Fault::new("", format!("there is no [{table}]"), help);
        let sde = self.sde.as_ref().ok_or_else(|| {
            missing(
                "sde",
                "give [sde.vp], [sde.sub-vp] or [sde.ve] for a score, or a family without a process, such as [flow.nice] or [vae]",
            )
        })?;
        if let Some(score) = &self.score {
            let trained =
                [("network", self.network.is_some()), ("precondition", self.precondition.is_some()), ("train", self.train.is_some())];
            return match trained.into_iter().find(|(_, given)| *given) {
                None => {
                    let help = "use another process, or train a network";
                    sde.get().check_score("score", "the score of a mixture is known under normal noise", help)?;
                    Ok(Family::Known(sde.clone(), score.clone()))
                }
                Some((table, _)) => {
                    let help = format!("remove [score], or remove [{table}] and whatever else describes training");
                    Err(Fault::new(table, format!("[{table}] has nothing to do: [score] is known already"), help))
                }
            };
        }
        let help = "give [network.*], [precondition.*] and [train] to train a score, or [score.gaussian-mixture] for an exact one";
        let network = self.network.as_ref().ok_or_else(|| missing("network", help))?;
        let precondition = self.precondition.as_ref().ok_or_else(|| missing("precondition", help))?;
        let parametrisation = precondition.under(sde.get()).map_err(|fault| fault.within("precondition"))?;
        network.check_outputs(parametrisation.outputs()).map_err(|fault| fault.within("network"))?;
        let training = match &self.train {
            Some(train) => Some((self.matching(train, sde, precondition)?, train.clone())),
            None if network.is_trained() => None,
            None => return Err(missing("train", help)),
        };
        let (sde, network) = (sde.clone(), network.clone());
        Ok(Family::Score(Box::new(Learned { sde, network, parametrisation, training })))
    }

    /// How a score is trained.
    fn matching(&self, train: &Train, sde: &SdeSpec, precondition: &Precondition) -> Result<ScoreMatching, Fault> {
        let matching = train.score_matching().map_err(|fault| fault.within("train"))?;
        train.check().and_then(|()| matching.check(sde.get())).map_err(|fault| fault.within("train"))?;
        let of_time = match precondition.levels() {
            Some(_) => matching.check_discrete(precondition.learns_variance()),
            None => matching.check_continuous(),
        };
        let of_data = if model_law(&self.data, self.space.is_some()).is_some() { Ok(()) } else { matching.check_unknown() };
        of_time.and(of_data).map_err(|fault| fault.within("train"))?;
        Ok(matching)
    }
}
