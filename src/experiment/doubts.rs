//! What speaks against a plan though it works: values that are probably not what was meant.

use super::plan::{Family, Plan};
use crate::error::Fault;
use crate::law::GaussianMixture;
use crate::model::{Label, Parametrisation};
use crate::net::{EmbeddingSpec, NetworkSpec};
use crate::sde::SdeSpec;
use crate::space::Scale;
use crate::train::Train;

impl Plan {
    /// Of a score of this shape. Keys are those of the file.
    pub fn doubts(&self, shape: &[usize]) -> Vec<Fault> {
        let solver = self.sample.as_ref().and_then(|sample| sample.solver.doubt(shape.iter().product()));
        let mut doubts: Vec<Fault> = solver.into_iter().map(|doubt| doubt.within("sample.solver")).collect();
        doubts.extend(self.train().and_then(still_warming_up));
        doubts.extend(self.ends_in_noise());
        doubts.extend(self.sde().and_then(|sde| self.begins_too_near(sde, shape)));
        doubts.extend(self.unused_labels());
        doubts.extend(self.deaf_to_noise());
        doubts
    }

    /// Samples, or examples of a likelihood, that keep more noise than they have signal.
    fn ends_in_noise(&self) -> Option<Fault> {
        let own = self.sde()?;
        let sampled = self.sample.as_ref().map(|sample| ("sample.t_min", sample.t_min, sample.path.as_ref().unwrap_or(own).get()));
        let measured = self.likelihood.as_ref().map(|likelihood| ("likelihood.t_min", likelihood.t_min, own.get()));
        let mut ends = sampled.into_iter().chain(measured);
        let (key, t, sde) = ends.find(|(_, t, sde)| sde.sigma(*t) > sde.alpha(*t))?;
        let message = format!("at t = {t} there is more noise than signal: sigma is {:.3} there, alpha {:.3}", sde.sigma(t), sde.alpha(t));
        Some(Fault::new(key, message, "t runs from 0, the data, to 1, the prior; the reference ends at 1e-3 (VP) and 1e-5 (VE)"))
    }

    /// A prior that is narrower than the data are wide.
    fn begins_too_near(&self, sde: &SdeSpec, shape: &[usize]) -> Option<Fault> {
        let SdeSpec::Ve(ve) = sde else { return None };
        let wide = match (self.scale(), self.law()) {
            (_, Some(law)) => widest(&law),
            // An eighth of the diagonal: less than two images that have little in common are apart.
            (Scale::Pixels { range, .. }, None) => (range[1] - range[0]) * (shape.iter().product::<usize>() as f64).sqrt() / 8.0,
            (Scale::Vectors { .. }, None) => return None,
        };
        let message = format!("sigma_max is {}, and examples are about {wide:.3} apart in model space, or more", ve.sigma_max);
        let help = "give the largest distance between two examples, which score-sde data FILE measures";
        (ve.sigma_max < wide).then(|| Fault::new("sde.ve.sigma_max", message, help))
    }

    /// Labels that are read and asked for by nobody.
    fn unused_labels(&self) -> Option<Fault> {
        let asked = self.condition.is_some() || self.knows_classes();
        let help = "give [condition.class], or [classifier], or remove the labels";
        (!asked && self.data.label_key().is_some() && self.data.has_labels())
            .then(|| Fault::new(format!("data.{}.labels", self.data.name()), "there are labels, and nothing is told of them", help))
    }

    /// VE with the embedding that the reference has for the other processes: ln sigma moves by a few units, and its waves are made for 0 to 999.
    fn deaf_to_noise(&self) -> Option<Fault> {
        let Family::Score(learned) = &self.family else { return None };
        let (SdeSpec::Ve(_), Parametrisation::Reference | Parametrisation::Plain(Label::LogSigma, _)) =
            (&learned.sde, &learned.parametrisation)
        else {
            return None;
        };
        let (key, embedding) = match &learned.network {
            NetworkSpec::Ncsnpp(spec) => ("network.ncsnpp.embedding", &spec.embedding),
            NetworkSpec::Mlp(spec) => ("network.mlp.embedding", &spec.embedding),
            _ => return None,
        };
        let message = "under VE the network is told ln sigma, a few units in all, and these waves are made for labels from 0 to 999";
        matches!(embedding, EmbeddingSpec::Positional).then(|| Fault::new(key, message, "use fourier, such as { scale = 16.0 }"))
    }
}

/// A learning rate that never arrives.
fn still_warming_up(train: &Train) -> Option<Fault> {
    let Train { steps, warmup, lr, .. } = train;
    let message = format!("the learning rate is still rising when training ends: {warmup} steps of warm-up, {steps} in all, to {lr}");
    (warmup > steps).then(|| Fault::new("train.warmup", message, "give less warm-up, or more steps"))
}

/// The largest distance between two components of a mixture.
fn widest(law: &GaussianMixture) -> f64 {
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let pairs = law.means.iter().flat_map(|a| law.means.iter().map(move |b| distance(a, b)));
    pairs.fold(0.0, f64::max)
}
