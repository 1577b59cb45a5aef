//! Denoising score matching (Vincent 2011; Song et al. 2021, eq. 7).

use tch::Tensor;

use super::{Batch, Reduction};
use crate::model::{At, Model};
use crate::sde::Level;
use crate::tensor::column;

/// λ(t) ‖s(x_t, t) - ∇ ln p(x_t | x_0)‖² with x_t = α x_0 + σ z, whose conditional score is -z / σ, as w ‖σ s + z‖² with w = λ / σ².
///
/// It is also w (α / σ)² ‖D - x_0‖², the loss of a denoising autoencoder D = (x_t + σ² s) / α (Vincent 2011, sec. 4). α and σ are those of
/// the model's level: for a model in discrete time w = 1 gives on DDPM's chain ‖F - z‖² for the noise prediction F (Ho et al. 2020, eq. 14),
/// on NCSN's the loss of Song & Ermon 2019, eq. 5 and 6 with λ = σ². The error is taken in the quantity that the model says, of which that of the
/// noise is a multiple: flow matching of a velocity, w c² ‖u - (α' x_0 + σ' z)‖² (Lipman et al. 2023), is this loss, too, also where α is 0.
/// -> losses `[B]`.
pub fn denoising_score_matching(model: &dyn Model, reduction: Reduction, batch: &Batch) -> Tensor {
    let levels: Vec<Level> = batch.t.iter().map(|&t| model.level(t)).collect();
    let x = noised(batch.x0, &levels, batch.z);
    let at = At::whole(&x, batch.t);
    let (errors, factors) = model.predict(&at).errors(model.sde(), &|t| model.level(t), (batch.x0, batch.z), &at);
    let w: Vec<f64> = batch.w.iter().zip(factors).map(|(w, c)| w * c * c).collect();
    Batch { w: &w, ..*batch }.weighted(&errors.square(), reduction)
}

/// α x_0 + σ z [B, ...], one level per example.
fn noised(x0: &Tensor, levels: &[Level], z: &Tensor) -> Tensor {
    x0 * column(x0, levels.iter().map(|level| level.alpha)) + z * column(x0, levels.iter().map(|level| level.sigma))
}

/// (σ s(α x_0 + σ z, t) + z)² [B, ...], one level per example.
pub fn denoising_errors(model: &dyn Model, x0: &Tensor, levels: &[Level], z: &Tensor) -> Tensor {
    let t: Vec<f64> = levels.iter().map(|level| level.t).collect();
    let x = noised(x0, levels, z);
    (z - model.noise(&At::whole(&x, &t))).square()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Weighting;
    use crate::model::{Label, Output, Precondition, Preconditioned};
    use crate::net::{Interface, NetworkSpec};
    use crate::optim::Builder;
    use crate::sde::Sde;
    use crate::tensor::{column_of, to_vec};
    use crate::testing::{Formula, VP, chained, largest, normal, sdes, standard, zero};
    use tch::{Device, Kind};

    #[test]
    fn it_is_the_loss_of_a_denoising_autoencoder() {
        tch::set_num_threads(1);
        let (x0, z) = (
            Tensor::from_slice(&[1.0, -0.4, 0.3, 2.0, 0.1, -1.0]).view([2, 3]),
            Tensor::from_slice(&[1.0, 2.0, 3.0, 0.5, 0.0, -1.0]).view([2, 3]),
        );
        let t = [0.01, 0.4];
        let got = to_vec(&denoising_score_matching(&standard(&VP), Reduction::HalfSum, &Batch { x0: &x0, t: &t, z: &z, w: &[3.0, 0.5] }));
        for (i, w) in [(0, 3.0), (1, 0.5)] {
            let (alpha, sigma) = (VP.alpha(t[i]), VP.sigma(t[i]));
            let truth: f64 = (0..3)
                .map(|j| {
                    let at = |tensor: &Tensor| tensor.double_value(&[i as i64, j]);
                    let x = alpha * at(&x0) + sigma * at(&z);
                    let denoised = (x - sigma * sigma * x) / alpha;
                    0.5 * w * (alpha / sigma * (denoised - at(&x0))).powi(2)
                })
                .sum();
            assert!((got[i] / truth - 1.0).abs() < 1e-12, "{} is not {truth}", got[i]);
        }
    }

    /// Lipman et al. 2023, eq. 14, and Salimans & Ho 2022, by hand: the same losses, and the same gradients.
    #[test]
    fn flow_matching_is_this_loss_with_its_weight() {
        tch::set_num_threads(1);
        let (x0, z, t) = (normal(1, &[6, 3]), normal(2, &[6, 3]), [0.02, 0.1, 0.3, 0.5, 0.8, 0.97]);
        for (name, sde) in sdes() {
            for output in [Output::Velocity, Output::Data, Output::Noise] {
                let builder = Builder::new(1, Kind::Double, Device::Cpu);
                let spec = NetworkSpec::Mlp(toml::from_str("width = 8\ndepth = 1\ninput = \"plain\"\nembedding = \"positional\"").unwrap());
                let network = spec.build(&Interface::plain(&[3]), &builder);
                let parameters = builder.finish();
                let parametrisation = &Precondition::Plain { label: Label::Time, output }.under(sde).unwrap();
                let model =
                    Preconditioned { sde, network: &*network, parametrisation, to_unit: (1.0, 0.0), kind: Kind::Double, dropout: None };
                let x = noised(&x0, &t.map(|t| sde.level(t)), &z);
                let velocity = &x0 * column_of(&x0, &t, |t| sde.slope(t).alpha) + &z * column_of(&x0, &t, |t| sde.slope(t).sigma);
                let by_hand = (model.velocity(&At::whole(&x, &t)) - velocity).square().mean(Kind::Double);
                let w = t.map(|t| Weighting::Velocity.at(sde, t));
                let ours = denoising_score_matching(&model, Reduction::Mean, &Batch { x0: &x0, t: &t, z: &z, w: &w }).mean(Kind::Double);
                let close = |a: &Tensor, b: &Tensor| largest(&(a - b)) / largest(b);
                assert!(close(&ours, &by_hand) < 1e-10, "{name}, {output:?}: {ours} is not {by_hand}");
                let [ours, by_hand] = [ours, by_hand].map(|loss| parameters.gradient(&loss));
                assert!(close(&ours, &by_hand) < 1e-10, "{name}, {output:?}: the gradient is off by {}", close(&ours, &by_hand));
            }
        }
    }

    #[test]
    fn discrete_time_sees_the_chains_marginals() {
        tch::set_num_threads(1);
        for (_, sde) in chained() {
            let chain = sde.chain(50).unwrap();
            // s = -x / σ², the exact score of a chain that starts at zero.
            let score = |x: &Tensor, t: &[f64]| x * column_of(x, t, |t| -chain.level(t).sigma.powi(-2));
            let from_zero = Formula { sde, chain: Some(chain.clone()), score };
            let t = [chain.time(0), chain.time(20), 0.77, chain.time(49)];
            let x0 = Tensor::from_slice(&[1.0, -0.4, 0.3, 2.0]).view([4, 1]);
            let z = Tensor::from_slice(&[0.5, 1.0, -1.0, 0.2]).view([4, 1]);
            let loss =
                |x0: &Tensor| to_vec(&denoising_score_matching(&from_zero, Reduction::Mean, &Batch { x0, t: &t, z: &z, w: &[1.0; 4] }));
            assert!(loss(&x0.zeros_like()).iter().all(|loss| *loss < 1e-24));
            for ((got, x0), t) in loss(&x0).iter().zip(to_vec(&x0)).zip(t) {
                let truth = (chain.level(t).alpha * x0 / chain.level(t).sigma).powi(2);
                assert!((got / truth - 1.0).abs() < 1e-9, "{got} is not {truth} at t = {t}");
            }
        }
    }

    #[test]
    fn weights_and_reductions_are_what_they_say() {
        tch::set_num_threads(1);
        let x0 = Tensor::zeros([2, 3], (Kind::Double, Device::Cpu));
        let z = Tensor::from_slice(&[1.0, 2.0, 3.0, 0.5, 0.0, -1.0]).view([2, 3]);
        let loss =
            |w: &[f64], reduction| to_vec(&denoising_score_matching(&zero(&VP), reduction, &Batch { x0: &x0, t: &[0.2, 0.9], z: &z, w }));
        assert_eq!(loss(&[1.0, 1.0], Reduction::HalfSum), [7.0, 0.625]);
        assert_eq!(loss(&[1.0, 1.0], Reduction::Mean), [14.0 / 3.0, 1.25 / 3.0]);
        assert_eq!(loss(&[2.0, 4.0], Reduction::HalfSum), [14.0, 2.5]);
    }
}
