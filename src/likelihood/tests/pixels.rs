//! Images whose pixels are uniform have 8 bits/dim, by the same way that any images go.

use super::*;
use crate::tensor::column_of;
use tch::Tensor;

/// The exact score of x_0 uniform on the cube [lo, hi]^D: p_t = Π (Φ(a) - Φ(b)) / (α (hi - lo)), a = (x - α lo)/σ, b = (x - α hi)/σ.
fn cube(sde: &dyn Sde, [lo, hi]: [f64; 2]) -> impl Model {
    Formula::new(sde, move |x, t| {
        let (alpha, sigma) = (column_of(x, t, |t| sde.alpha(t)), column_of(x, t, |t| sde.sigma(t)));
        // Mirrored where x lies right of the middle: tails are then small numbers, not 1 less small numbers.
        let y = x - &alpha * (0.5 * (lo + hi));
        let side = -y.detach().sign();
        let (y, half) = (y * &side, &alpha * (0.5 * (hi - lo)));
        let (a, b) = ((&y + &half) / &sigma, (&y - &half) / &sigma);
        let log_density = |z: &Tensor| z.square() * -0.5 - 0.5 * (2.0 * std::f64::consts::PI).ln();
        let (log_cdf_a, log_cdf_b) = (a.special_log_ndtr(), b.special_log_ndtr());
        let log_mass = &log_cdf_a + (-(log_cdf_b - &log_cdf_a).exp()).log1p();
        let slope = (log_density(&a) - &log_mass).exp() - (log_density(&b) - &log_mass).exp();
        slope / sigma * side
    })
}

#[test]
fn uniform_pixels_have_exactly_eight_bits_through_the_whole_phase() {
    tch::set_num_threads(1);
    // Each image has every level once, in an order of its own.
    let image = |i: u32| (0..256u32).map(|j| ((j * (2 * i + 1) + 7 * i) % 256) as f32).collect();
    let dataset = Given { shape: vec![1, 16, 16], values: (0..3).map(image).collect() };
    for (range, dequantise) in [([-1.0, 1.0], true), ([0.0, 1.0], false), ([-3.0, 5.0], true)] {
        let scale = Scale::Pixels { range, dequantise };
        // The prior has unit variance; the cube keeps α² of its own.
        let model = cube(&SUB_VP, range);
        let solver = SolverSpec::Rk45(crate::solver::Adaptive::new(1e-6, 1e-6));
        let spec =
            Likelihood { batch: 2, t_min: 1e-4, dequantisation: Dequantisation::Uniform { draws: 2 }, ..spec(3, solver, hutchinson(2)) };
        spec.check(scale, false, &SUB_VP, None).unwrap();
        let result = measure(&spec, &model, &dataset, scale, 1);
        let parts = result.parts().times(result.bits_per_nat());
        assert!((parts.mean - 8.0).abs() < 1e-3, "{range:?}: {} bits/dim", parts.mean);
        assert!(parts.probe.unwrap() < 1e-9, "on a diagonal Jacobian Rademacher probes are exact");
    }
}
