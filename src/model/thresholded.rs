//! Dynamic thresholding of the denoised state, as a score.

use super::{At, Decorator, Model, Prediction};
use crate::tensor::column_of;

/// The score whose denoised state is the model's, brought back into the range of the data (Saharia et al. 2022, arXiv 2205.11487, sec. 2.3).
///
/// With u = D(x, t) on the scale on which `range` is [-1, 1], and q the `quantile` of |u| over one example's numbers, but at least 1:
/// u' = clamp(u, -q, q) / q. The score follows by Tweedie's formula, s' = s + α (D' - D) / σ², so that every solver is served; where the
/// denoised state is within the range, it is the model's own.
pub struct DynamicThresholding<'a> {
    pub model: Box<dyn Model + 'a>,
    /// [lo, hi], the values that data can have.
    pub range: [f64; 2],
    /// In (0, 1]; 1 for the largest number.
    pub quantile: f64,
}

impl Decorator for DynamicThresholding<'_> {
    fn inner(&self) -> &dyn Model {
        &*self.model
    }

    fn decorated(&self, at: &At) -> Prediction {
        let (sde, [lo, hi], At { x, t, .. }) = (self.sde(), self.range, *at);
        let (centre, half) = (0.5 * (lo + hi), 0.5 * (hi - lo));
        let score = self.model.score(at);
        let variance = |t: f64| sde.sigma(t).powi(2);
        let denoised = (x + &score * column_of(x, t, variance)) / column_of(x, t, |t| sde.alpha(t));
        let u = (denoised - centre) / half;
        let mut shape = vec![1; x.dim()];
        shape[0] = x.size()[0];
        let q = u.abs().flatten(1, -1).quantile_scalar(self.quantile, 1, false, "linear").clamp_min(1.0).view(shape.as_slice());
        let change = u.minimum(&q).maximum(&-&q) / q - u;
        let value = score + change * column_of(x, t, |t| half * sde.alpha(t) / variance(t));
        Prediction::of_score(value)
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;
    use crate::dynamics::denoise;
    use crate::sde::Sde;
    use crate::tensor::to_vec;
    use crate::testing::{Formula, sdes};

    /// The score whose denoised state is a given constant.
    fn towards(sde: &dyn Sde, data: Tensor) -> impl Model {
        Formula::new(sde, move |x, t| (&data * column_of(x, t, |t| sde.alpha(t)) - x) / column_of(x, t, |t| sde.sigma(t).powi(2)))
    }

    #[test]
    fn denoised_states_come_back_into_the_range() {
        tch::set_num_threads(1);
        let x = Tensor::from_slice(&[0.3, -1.0, 2.0, 0.0, 0.1, 0.2, 0.4, 0.9]).view([2, 1, 2, 2]);
        // On [0, 1], u is [0, 1.5, -3, 9] (q of 2/3: 3) for the first example, and within the range for the second.
        let data = Tensor::from_slice(&[0.5, 1.25, -1.0, 5.0, 0.0, 0.2, 0.7, 0.99]).view([2, 1, 2, 2]);
        let truth = [0.5, 0.75, 0.0, 1.0, 0.0, 0.2, 0.7, 0.99];
        for (name, sde) in sdes() {
            let model = towards(sde, data.shallow_clone());
            let bounded =
                DynamicThresholding { model: Box::new(towards(sde, data.shallow_clone())), range: [0.0, 1.0], quantile: 2.0 / 3.0 };
            for t in [0.01, 0.4, sde.horizon()] {
                let got = to_vec(&denoise(&bounded, &x, t));
                assert!(
                    got.iter().zip(truth).all(|(got, truth)| (got - truth).abs() < 1e-9),
                    "{name}: {got:?} is not {truth:?} at t = {t}"
                );
                let (free, own) = (model.score(&At::whole(&x, &[t, t])), bounded.score(&At::whole(&x, &[t, t])));
                assert_eq!(to_vec(&free.get(1)), to_vec(&own.get(1)), "{name}: a state within the range is left alone");
            }
        }
    }
}
