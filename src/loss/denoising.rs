//! Denoising score matching (Vincent 2011; Song et al. 2021, eq. 7).

use tch::{Kind, Tensor};

use super::{Reduction, Weighting};
use crate::score::ScoreModel;
use crate::sde::{Chain, Sde};
use crate::tensor::column_of;

/// λ(t) ‖s(x_t, t) - ∇ ln p(x_t | x_0)‖² with x_t = α x_0 + σ z, whose conditional score is -z / σ.
///
/// `x0` and `z` [B, ...], one time per example in (0, 1] -> losses `[B]`. Variance weighting: ‖σ s + z‖²; likelihood: g² ‖s + z / σ‖².
pub fn denoising_score_matching(
    sde: &dyn Sde,
    model: &dyn ScoreModel,
    weighting: Weighting,
    reduction: Reduction,
    x0: &Tensor,
    t: &[f64],
    z: &Tensor,
) -> Tensor {
    let alpha = column_of(x0, t, |t| sde.alpha(t));
    let error = squared_error(model, reduction, x0, t, z, &alpha, &column_of(x0, t, |t| sde.sigma(t)));
    let weight = column_of(&error, t, |t| weighting.at(sde, t));
    error * weight
}

/// The same in discrete time, λ = σ²: σ_i² ‖s(x_i, t) + z / σ_i‖² with x_i = α_i x_0 + σ_i z, i the level of each example's t.
///
/// On DDPM's chain it is ‖F - z‖² for the noise prediction F (Ho et al. 2020, eq. 14), on NCSN's the loss of Song & Ermon 2019, eq. 5 and
/// 6 with λ = σ².
pub fn discrete_score_matching(chain: &Chain, model: &dyn ScoreModel, reduction: Reduction, x0: &Tensor, t: &[f64], z: &Tensor) -> Tensor {
    let alpha = column_of(x0, t, |t| chain.alpha(t));
    squared_error(model, reduction, x0, t, z, &alpha, &column_of(x0, t, |t| chain.sigma(t)))
}

/// ‖σ s(α x_0 + σ z, t) + z‖², reduced to `[B]`.
fn squared_error(
    model: &dyn ScoreModel,
    reduction: Reduction,
    x0: &Tensor,
    t: &[f64],
    z: &Tensor,
    alpha: &Tensor,
    sigma: &Tensor,
) -> Tensor {
    let x = x0 * alpha + z * sigma;
    let error = (model.score(&x, t) * sigma + z).square().flatten(1, -1);
    match reduction {
        Reduction::Mean => error.mean_dim(1i64, false, None::<Kind>),
        Reduction::HalfSum => error.sum_dim_intlist(1i64, false, None::<Kind>) * 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{self, Law, Purpose};
    use crate::score::{ExactScore, GaussianMixture};
    use crate::sde::{SubVp, Ve, Vp};
    use crate::tensor::to_vec;
    use tch::Device;

    const N: u64 = 20_000;

    /// The exact score times (1 + stretch), plus shift / σ.
    struct Bent<'a>(&'a ExactScore<'a>, &'a dyn Sde, f64, f64);
    impl ScoreModel for Bent<'_> {
        fn score(&self, x: &Tensor, t: &[f64]) -> Tensor {
            self.0.score(x, t) * (1.0 + self.2) + column_of(x, t, |t| self.3 / self.1.sigma(t))
        }
    }

    fn mixture() -> GaussianMixture {
        GaussianMixture {
            weights: vec![1.0, 1.0],
            means: vec![vec![-1.0, 0.0], vec![1.0, 0.5]],
            covariances: vec![vec![vec![0.3, 0.2], vec![0.2, 0.3]], vec![vec![0.2, 0.0], vec![0.0, 0.4]]],
        }
    }

    #[test]
    fn the_exact_score_minimises_it_under_every_sde_and_weighting() {
        tch::set_num_threads(1);
        let mixture = mixture();
        let factored = mixture.factored();
        let mut rng = rng::generator(2, Purpose::Data, 0);
        let x0: Vec<f64> = (0..N).flat_map(|_| factored.sample(&mut rng)).collect();
        let x0 = Tensor::from_slice(&x0).view([N as i64, 2]);
        let z = rng::rows(Law::Gaussian, 2, Purpose::Noise, 0..N, 0, &[2], Device::Cpu).to_kind(Kind::Double);
        let t: Vec<f64> = rng::uniform(2, Purpose::Time, 0, N as usize).iter().map(|u| 0.05 + 0.95 * u).collect();
        let sdes: [Box<dyn Sde>; 3] = [
            Box::new(Vp { beta_min: 0.1, beta_max: 20.0 }),
            Box::new(SubVp { beta_min: 0.1, beta_max: 20.0 }),
            Box::new(Ve { sigma_min: 0.01, sigma_max: 10.0 }),
        ];
        for sde in sdes {
            let exact = ExactScore::new(&*sde, &mixture, Device::Cpu);
            for weighting in [Weighting::Variance, Weighting::Likelihood] {
                let loss = |stretch, shift| {
                    let model = Bent(&exact, &*sde, stretch, shift);
                    denoising_score_matching(&*sde, &model, weighting, Reduction::Mean, &x0, &t, &z).mean(Kind::Double).double_value(&[])
                };
                let least = loss(0.0, 0.0);
                for (stretch, shift) in [(-0.2, 0.0), (0.2, 0.0), (0.0, -0.2), (0.0, 0.2)] {
                    assert!(loss(stretch, shift) > least, "{weighting:?}: bending by {stretch}, {shift} does not raise {least}");
                }
            }
        }
    }

    #[test]
    fn discrete_time_sees_the_chains_marginals() {
        tch::set_num_threads(1);
        /// s = -x / σ², the exact score of a chain that starts at zero.
        struct FromZero<'a>(&'a Chain);
        impl ScoreModel for FromZero<'_> {
            fn score(&self, x: &Tensor, t: &[f64]) -> Tensor {
                x * column_of(x, t, |t| -self.0.sigma(t).powi(-2))
            }
        }
        let sdes: [Box<dyn Sde>; 2] = [Box::new(Vp { beta_min: 0.1, beta_max: 20.0 }), Box::new(Ve { sigma_min: 0.01, sigma_max: 10.0 })];
        for sde in sdes {
            let chain = sde.chain(50).unwrap();
            let t = [chain.time(0), chain.time(20), 0.77, chain.time(49)];
            let x0 = Tensor::from_slice(&[1.0, -0.4, 0.3, 2.0]).view([4, 1]);
            let z = Tensor::from_slice(&[0.5, 1.0, -1.0, 0.2]).view([4, 1]);
            let loss = |x0: &Tensor| to_vec(&discrete_score_matching(&chain, &FromZero(&chain), Reduction::Mean, x0, &t, &z));
            assert!(loss(&x0.zeros_like()).iter().all(|loss| *loss < 1e-24));
            for ((got, x0), t) in loss(&x0).iter().zip(to_vec(&x0)).zip(t) {
                let truth = (chain.alpha(t) * x0 / chain.sigma(t)).powi(2);
                assert!((got / truth - 1.0).abs() < 1e-9, "{got} is not {truth} at t = {t}");
            }
        }
    }

    #[test]
    fn weightings_and_reductions_are_what_they_say() {
        struct Zero;
        impl ScoreModel for Zero {
            fn score(&self, x: &Tensor, _t: &[f64]) -> Tensor {
                x.zeros_like()
            }
        }
        let sde = Vp { beta_min: 0.1, beta_max: 20.0 };
        let x0 = Tensor::zeros([2, 3], (Kind::Double, Device::Cpu));
        let z = Tensor::from_slice(&[1.0, 2.0, 3.0, 0.5, 0.0, -1.0]).view([2, 3]);
        let t = [0.2, 0.9];
        let loss = |weighting, reduction| to_vec(&denoising_score_matching(&sde, &Zero, weighting, reduction, &x0, &t, &z));
        assert_eq!(loss(Weighting::Variance, Reduction::HalfSum), [7.0, 0.625]);
        assert_eq!(loss(Weighting::Variance, Reduction::Mean), [14.0 / 3.0, 1.25 / 3.0]);
        let weighted = loss(Weighting::Likelihood, Reduction::HalfSum);
        assert!((weighted[0] - 7.0 * sde.diffusion(0.2).powi(2) / sde.sigma(0.2).powi(2)).abs() < 1e-9);
    }
}
