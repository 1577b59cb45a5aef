//! A model of one process, asked under another.

use super::{At, Model, Prediction, Quantity};
use crate::sde::{Level, Sde, SdeSpec};
use crate::tensor::column;

/// The law of x_t is, up to a scale of x, that of the signal-to-noise ratio α² / σ² alone. So a model under one path serves any other, without
/// training: it is asked where its own path has the log-SNR, at x times the ratio of both scales, and the data and the noise that it finds there are
/// the same here (Kingma et al. 2021, arXiv 2107.00630, sec. 5.1; Karras et al. 2022, arXiv 2206.00364, sec. 3). Beyond the ends of its own path it
/// is asked at the ends.
pub struct Rescheduled<'a> {
    /// In continuous time, under normal noise.
    pub model: Box<dyn Model + 'a>,
    /// Under normal noise.
    pub sde: SdeSpec,
}

impl Model for Rescheduled<'_> {
    fn sde(&self) -> &dyn Sde {
        self.sde.get()
    }

    fn predict(&self, at: &At) -> Prediction {
        let (here, there) = (self.sde(), self.model.sde());
        let last = there.horizon();
        let time = |t: f64| there.time_of_log_snr(here.log_snr(t)).clamp(0.0, last);
        // The inverse of a path of one's own takes many evaluations.
        let together = at.t.iter().all(|&t| t == at.t[0]);
        let times = if together { vec![time(at.t[0]); at.t.len()] } else { at.t.iter().map(|&t| time(t)).collect() };
        let size = |Level { alpha, sigma, .. }: Level| alpha.hypot(sigma);
        let x = at.x * column(at.x, at.t.iter().zip(&times).map(|(&t, &time)| size(there.level(time)) / size(here.level(t))));
        let at = At { t: &times, ..at.moved(&x) };
        let said = self.model.predict(&at);
        let quantity = if said.quantity == Quantity::Data { Quantity::Data } else { Quantity::Noise };
        Prediction::of(quantity, said.into_quantity(quantity, there, &|t| self.model.level(t), &at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamics::Reverse;
    use crate::sde::Edm;
    use crate::solver::{Adaptive, Problem, SolverSpec};
    use crate::testing::{COSINE, LINEAR, VP, exact, largest, mixture, no_noise, normal, sdes};
    use tch::Tensor;

    fn others() -> [SdeSpec; 4] {
        [SdeSpec::Vp(VP), SdeSpec::Cosine(COSINE), SdeSpec::Linear(LINEAR), SdeSpec::Edm(Edm { sigma_max: 100.0 })]
    }

    #[test]
    fn the_score_of_one_path_is_that_of_any_other() {
        tch::set_num_threads(1);
        let law = mixture();
        for (name, sde) in sdes() {
            for path in others() {
                let model = Rescheduled { model: Box::new(exact(sde, &law)), sde: path.clone() };
                // Times that both paths reach.
                let t = [3.0, 0.0, -2.0].map(|lambda| path.get().time_of_log_snr(lambda));
                let x = normal(1, &[3, 2]);
                let (got, truth) = (model.score(&At::whole(&x, &t)), exact(path.get(), &law).score(&At::whole(&x, &t)));
                assert!(largest(&(&got - &truth)) < 1e-9 * largest(&truth), "{name} under {path:?}: {got} is not {truth}");
            }
        }
    }

    /// The flow of another path is the same flow at another speed.
    #[test]
    fn ways_down_the_flow_end_where_their_own_do() {
        tch::set_num_threads(1);
        let law = mixture();
        let own = exact(&VP, &law);
        let (first, last) = (-9.0, VP.log_snr(1e-3));
        let end = |model: &dyn Model| {
            let at = |lambda: f64| model.sde().level(model.sde().time_of_log_snr(lambda));
            let (start, end) = (at(first), at(last));
            // The same point of either path.
            let x: Tensor = normal(3, &[20, 2]) * start.alpha.hypot(start.sigma);
            let problem = Problem { x: &x, span: (start.t, end.t), denoise: false };
            let solver = SolverSpec::Dop853(Adaptive::new(1e-10, 1e-10));
            solver.sample(&Reverse { model, eta: 0.0 }, &problem, &mut no_noise, &mut |_| {}).unwrap().0 / end.alpha
        };
        let truth = end(&own);
        for path in others() {
            let got = end(&Rescheduled { model: Box::new(exact(&VP, &law)), sde: path.clone() });
            assert!(largest(&(got - &truth)) < 1e-6, "{path:?}");
        }
    }

    #[test]
    fn beyond_its_ends_a_model_is_asked_at_them() {
        tch::set_num_threads(1);
        let (law, x) = (mixture(), normal(1, &[2, 2]));
        let model = Rescheduled { model: Box::new(exact(&COSINE, &law)), sde: SdeSpec::Linear(LINEAR) };
        let t = [LINEAR.horizon(), 1e-5];
        let (got, truth) = (model.noise(&At::whole(&x, &t)), exact(&LINEAR, &law).noise(&At::whole(&x, &t)));
        assert!(largest(&(got - truth).get(0)) < 0.02, "nearly all is noise, and is taken for it");
    }
}
