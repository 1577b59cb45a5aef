//! Conditions, classifiers and guidance of an experiment, and what is wrong with them together.

use super::plan::{Family, Plan};
use super::written::Experiment;
use crate::classifier;
use crate::data::{Class, ConditionSpec};
use crate::error::Fault;
use crate::guidance::Guidance;
use crate::model::ScoreSpec;

impl Plan {
    /// Of the numbers that say what is known of an example, how many the network is told.
    pub fn told(&self, condition: usize) -> usize {
        if self.condition.is_some() { condition } else { 0 }
    }

    /// Whether a score or a classifier is told of classes, or tells them.
    pub fn knows_classes(&self) -> bool {
        let told = matches!(self.condition, Some(ConditionSpec::Class(_)));
        told || self.classifier.is_some() || matches!(self.family, Family::Classifier(..))
    }

    /// What can only be known of the classes of the data.
    pub(super) fn check_conditions(&self, width: usize) -> Result<(), Fault> {
        if !self.knows_classes() {
            return Ok(());
        }
        if let Family::Known(_, ScoreSpec::GaussianMixture(mixture)) = &self.family
            && self.condition.is_some()
            && mixture.weights.len() != width
        {
            let message = format!("the data have {width} classes, and the score's mixture {} components", mixture.weights.len());
            return Err(Fault::new("condition.class", message, "give a mixture with a component for each class, in their order"));
        }
        let given = self.sample.as_ref().and_then(|sample| sample.given.as_ref());
        given.map_or(Ok(()), |given| given.check_against(width).map_err(|fault| fault.within("sample.given")))
    }
}

impl Experiment {
    /// What is known of examples, and what samples are given.
    pub(super) fn check_condition(&self) -> Result<(), Fault> {
        let given = self.sample.as_ref().and_then(|sample| sample.given.as_ref());
        self.check_guidance()?;
        let Some(condition) = &self.condition else {
            // What a classifier is for needs nothing that the score is told.
            let class = ConditionSpec::Class(Class { dropout: None });
            let guided = self.guidance().is_some_and(|guidance| matches!(guidance, Guidance::Classifier(_)));
            let help =
                "give [condition.class] or [condition.vector], or [classifier] and sample.guidance.classifier, or remove sample.given";
            return match given {
                None => Ok(()),
                Some(given) if guided => given.check(&class).map_err(|fault| fault.within("sample.given")),
                Some(_) => Err(Fault::new("sample.given", "the model knows no conditions", help)),
            };
        };
        condition.check(&self.data, self.score.is_none()).map_err(|fault| fault.within("condition"))?;
        if self.sde.as_ref().is_some_and(|sde| sde.get().pairs_by_transport()) {
            let message =
                "noise that is paired with examples of all conditions is not the prior of each, and [sde.optimal-transport] pairs it";
            return Err(Fault::new("condition", message, "use [sde.linear], whose noise is independent, or remove [condition]"));
        }
        if let Some(network) = &self.network {
            network.check_conditions().map_err(|fault| fault.within("network"))?;
        }
        if self.dequantisation.is_some() {
            let message = "this dequantisation is trained for a score without conditions";
            return Err(Fault::new("dequantisation", message, "remove it; likelihood.dequantisation can be uniform = { draws = 1 }"));
        }
        match (given, &self.sample) {
            (Some(given), _) => given.check(condition).map_err(|fault| fault.within("sample.given")),
            (None, Some(_)) if !condition.knows_all() => {
                let help = match condition {
                    ConditionSpec::Class(_) => "give sample.given = \"each-class\", or condition.class.dropout = 0.1",
                    ConditionSpec::Vector(_) => "give sample.given, such as { example = { split = \"test\", index = 0 } }",
                };
                Err(Fault::new("sample", "these samples are given nothing, and the network is never trained like that", help))
            }
            _ => Ok(()),
        }
    }

    fn guidance(&self) -> Option<&Guidance> {
        self.sample.as_ref()?.guidance.as_ref()
    }

    /// A fault's key is relative to `[classifier]`.
    pub(super) fn check_classifier(&self, classifier: &classifier::Spec) -> Result<(), Fault> {
        classifier.check()?;
        ConditionSpec::Class(Class { dropout: None }).check(&self.data, false).map_err(|fault| Fault { key: String::new(), ..fault })?;
        if self.space.is_some() {
            return Err(Fault::new("", "the classifier is of the data, and the score of latent variables", "remove it, or [space.latent]"));
        }
        match self.condition {
            Some(ConditionSpec::Vector(_)) => Err(Fault::new(
                "",
                "the score is told [condition.vector], which is no class",
                "remove [classifier], or use [condition.class]",
            )),
            _ => Ok(()),
        }
    }

    /// What samples go away from.
    fn check_guidance(&self) -> Result<(), Fault> {
        let Some(sample) = &self.sample else { return Ok(()) };
        let (key, message, help) = match &sample.guidance {
            Some(Guidance::Classifier(_)) if self.classifier.is_none() => (
                "sample.guidance.classifier",
                "there is no classifier that could guide",
                "give [classifier] with width, depth, t_min and train, or use classifier-free guidance",
            ),
            Some(Guidance::Classifier(_)) if sample.given.is_none() => (
                "sample.guidance.classifier",
                "a classifier guides towards what samples are given, and these are given nothing",
                "give sample.given, such as \"each-class\"",
            ),
            Some(Guidance::ClassifierFree(_)) if sample.given.is_none() => (
                "sample.guidance.classifier-free",
                "classifier-free guidance goes away from samples that are given nothing, and these are given nothing",
                "give sample.given, such as \"each-class\"",
            ),
            Some(Guidance::ClassifierFree(_)) if self.condition.as_ref().is_some_and(|condition| !condition.knows_all()) => (
                "sample.guidance.classifier-free",
                "classifier-free guidance asks the network for the law of all examples, which it never learns",
                "train with a dropout of the condition, such as 0.1",
            ),
            Some(Guidance::Product(_)) if self.space.is_some() => {
                ("sample.guidance.product", "the factor is of the data, and the score of latent variables", "remove it, or [space.latent]")
            }
            Some(Guidance::Autoguidance(_)) if self.network.is_none() => {
                ("sample.guidance.autoguidance", "a known score has no worse one", "remove it, or train a network")
            }
            _ => return Ok(()),
        };
        Err(Fault::new(key, message, help))
    }
}
