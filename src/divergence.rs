//! Divergence of a vector field from products of its Jacobian with vectors.

use tch::{Kind, Tensor, no_grad, with_grad};

use crate::tensor::{indices, sum_per_example};

/// The random vectors of an estimate of div f = tr J, J = ∂f/∂x. They are given once for each example and stay for a whole solve, so
/// that the estimate is a function of (x, t).
pub enum Probes {
    /// None: all unit vectors, D backward passes.
    Exact,
    /// v [k, B, D] with E v vᵀ = I: k estimates vᵀ J v (Hutchinson 1989), one backward pass each.
    Random(Tensor),
    /// Hutch++ (Meyer et al. 2021, algorithm 1) of K = J - c I, whose trace is tr J - c D: with A = Kᵀ S and P the projector onto its
    /// columns, each g gives the estimate c D + tr(P K) + ((I - P) g)ᵀ K (I - P) g, whose mean over g is tr J whatever S and c are. Only
    /// Jᵀ is at hand, and tr J = tr Jᵀ.
    ///
    /// c = Σ sᵀ J s / Σ ‖s‖² over the sketch takes no product more. It matters where J is near a multiple of I, as that of a score is at
    /// much noise: without it the sketch finds no range that holds the trace, and as many plain signs do better.
    ///
    /// P = A (Aᵀ A)⁻¹ Aᵀ is made anew at every (x, t): it depends on A's columns and not on the basis that stands for them, so it is as
    /// smooth as J wherever A has full rank.
    Sketched {
        /// S [m, B, D], m backward passes and m more.
        sketch: Tensor,
        /// g [k, B, D], one backward pass each.
        probes: Tensor,
    },
}

impl Probes {
    /// Estimates for each example.
    pub fn estimates(&self) -> i64 {
        match self {
            Probes::Exact => 1,
            Probes::Random(probes) | Probes::Sketched { probes, .. } => probes.size()[0],
        }
    }

    /// Those of some rows of the batch.
    pub fn of_rows(&self, rows: &[usize]) -> Probes {
        let of = |v: &Tensor| v.index_select(1, &indices(rows, v.device()));
        match self {
            Probes::Exact => Probes::Exact,
            Probes::Random(probes) => Probes::Random(of(probes)),
            Probes::Sketched { sketch, probes } => Probes::Sketched { sketch: of(sketch), probes: of(probes) },
        }
    }

    /// y = f(x) [B, ...] and the estimates of div f [B, k], from one forward pass; both without a graph. x [B, ...].
    pub fn value_and_divergence(&self, f: impl FnOnce(&Tensor) -> Tensor, x: &Tensor) -> (Tensor, Tensor) {
        match self {
            Probes::Exact => {
                let d = x.numel() as i64 / x.size()[0];
                let (y, terms) = value_and_divergence(f, x, &Tensor::eye(d, (x.kind(), x.device())).unsqueeze(1));
                (y, terms.sum_dim_intlist(1i64, true, None::<Kind>))
            }
            Probes::Random(probes) => value_and_divergence(f, x, probes),
            Probes::Sketched { sketch, probes } => {
                let point = Linearised::at(f, x);
                let products = point.pull_all(sketch, true);
                let sum = |v: Tensor| v.sum_dim_intlist([0i64, 2].as_slice(), false, None::<Kind>).unsqueeze(1);
                let c = sum(&products * sketch) / sum(sketch.square());
                let (q, _) = Tensor::linalg_qr(&(products - sketch * &c).permute([1, 2, 0]), "reduced");
                let captured = point.quadratic_forms(&q.permute([2, 0, 1]), true).sum_dim_intlist(1i64, true, None::<Kind>);
                let g = probes.permute([1, 2, 0]);
                let rest = &g - q.matmul(&q.transpose(1, 2).matmul(&g));
                let remainder = point.quadratic_forms(&rest.permute([2, 0, 1]), false);
                // What c I has outside of P, less what the probes see of it.
                let unseen = rest.square().sum_dim_intlist(1i64, false, None::<Kind>).neg() + (q.size()[1] - q.size()[2]) as f64;
                (point.y.detach(), captured + remainder + c * unseen)
            }
        }
    }
}

/// y = f(x) and the terms v_jᵀ (∂f/∂x) v_j, from one forward and k backward passes.
///
/// `x` [B, ...]; `probes` [k, B or 1, D] with D the numbers in one example; returns y [B, ...] and the terms [B, k], both without a graph.
/// E v vᵀ = I makes each term an unbiased estimate of div f (Hutchinson 1989); unit vectors, summed, give it exactly.
pub fn value_and_divergence(f: impl FnOnce(&Tensor) -> Tensor, x: &Tensor, probes: &Tensor) -> (Tensor, Tensor) {
    let point = Linearised::at(f, x);
    let terms = point.quadratic_forms(probes, false);
    (point.y.detach(), terms)
}

/// v_jᵀ (∂y/∂x) v_j for y [B, D] with a graph to x [B, ...] and probes [k, B or 1, D] -> [B, k], with a graph through the Jacobian to all that
/// y depends on.
pub fn quadratic_forms(y: &Tensor, x: &Tensor, probes: &Tensor) -> Tensor {
    let form = |j: i64| {
        let v = probes.select(0, j);
        let projection = (y * &v).sum(None::<Kind>);
        let product = Tensor::run_backward(&[projection], &[x], true, true).remove(0);
        sum_per_example(&(product.flatten(1, -1) * v))
    };
    let forms: Vec<Tensor> = (0..probes.size()[0]).map(form).collect();
    Tensor::stack(&forms, 1)
}

/// y = f(x) with its graph, for products vᵀ (∂f/∂x) from one forward pass.
pub struct Linearised {
    x: Tensor,
    /// [B, ...], with the graph.
    pub y: Tensor,
    /// y [B, D]
    flat: Tensor,
}

impl Linearised {
    /// At x [B, ...].
    pub fn at(f: impl FnOnce(&Tensor) -> Tensor, x: &Tensor) -> Linearised {
        let x = x.detach().set_requires_grad(true);
        let y = with_grad(|| f(&x));
        let flat = with_grad(|| y.flatten(1, -1));
        Linearised { x, y, flat }
    }

    /// v [B or 1, D] -> Jᵀ v [B, D]; `again`: more products will follow.
    pub fn pull(&self, v: &Tensor, again: bool) -> Tensor {
        let projection = with_grad(|| (&self.flat * v).sum(None::<Kind>));
        let product = Tensor::run_backward(&[projection], &[&self.x], again, false).remove(0);
        // Undefined where y does not depend on x at all.
        if product.defined() { product.flatten(1, -1) } else { self.x.zeros_like().flatten(1, -1) }
    }

    /// Jᵀ v_j for v [k, B or 1, D] -> [k, B, D].
    fn pull_all(&self, v: &Tensor, again: bool) -> Tensor {
        let k = v.size()[0];
        Tensor::stack(&(0..k).map(|j| self.pull(&v.select(0, j), again || j + 1 < k)).collect::<Vec<_>>(), 0)
    }

    /// v_jᵀ J v_j for v [k, B or 1, D] -> [B, k].
    fn quadratic_forms(&self, v: &Tensor, again: bool) -> Tensor {
        let k = v.size()[0];
        let term = |j| {
            let v = v.select(0, j);
            let product = self.pull(&v, again || j + 1 < k);
            no_grad(|| (product * v).sum_dim_intlist(1i64, false, None::<Kind>))
        };
        Tensor::stack(&(0..k).map(term).collect::<Vec<_>>(), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Law, Purpose, rows};
    use crate::tensor::to_vec;
    use tch::Device;

    /// f(x) = x Aᵀ + x³ with a full A: div f = tr A + 3 ‖x‖², and the Jacobian is not diagonal.
    fn field(x: &Tensor) -> Tensor {
        let a = Tensor::from_slice(&[0.5, 2.0, -1.0, 0.7, -0.3, 0.4, 1.5, -0.2, 0.9]).view([3, 3]);
        x.matmul(&a.transpose(0, 1)) + x.pow_tensor_scalar(3)
    }

    fn points(n: i64) -> (Tensor, Vec<f64>) {
        let x = rows(Law::Gaussian, 1, Purpose::Prior, 0..n as u64, 0, &[3], Device::Cpu).to_kind(Kind::Double);
        let truth = to_vec(&(x.square().sum_dim_intlist(1i64, false, None::<Kind>) * 3.0 + (0.5 - 0.3 + 0.9)));
        (x, truth)
    }

    #[test]
    fn unit_vectors_give_the_exact_divergence() {
        tch::set_num_threads(1);
        let (x, truth) = points(5);
        let (y, terms) = value_and_divergence(field, &x, &Tensor::eye(3, (Kind::Double, Device::Cpu)).unsqueeze(1));
        assert_eq!(to_vec(&y), to_vec(&field(&x)));
        for (sum, truth) in to_vec(&terms.sum_dim_intlist(1i64, false, None::<Kind>)).iter().zip(truth) {
            assert!((sum - truth).abs() < 1e-12);
        }
    }

    #[test]
    fn random_probes_are_unbiased_and_have_variance() {
        tch::set_num_threads(1);
        let (x, truth) = points(1);
        let x = x.repeat([20_000, 1]);
        for law in [Law::Rademacher, Law::Gaussian, Law::Sphere] {
            let probes = rows(law, 2, Purpose::Probe, 0..20_000, 0, &[3], Device::Cpu).to_kind(Kind::Double).unsqueeze(0);
            let estimates = to_vec(&value_and_divergence(field, &x, &probes).1);
            let mean = estimates.iter().sum::<f64>() / 20_000.0;
            let variance = estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / 20_000.0;
            assert!(variance > 1.0, "{law:?} must have variance here");
            assert!((mean - truth[0]).abs() < 4.0 * (variance / 20_000.0).sqrt(), "{law:?}: {mean} is not {}", truth[0]);
        }
    }

    /// f(x) = A x + sin(x)/2 in 24 dimensions with A = U diag(2^-i) Uᵀ: a Jacobian whose large directions are few and rotated.
    fn decaying(x: &Tensor) -> Tensor {
        let d = 24;
        let (u, _) =
            Tensor::linalg_qr(&rows(Law::Gaussian, 5, Purpose::Init, 0..d, 0, &[d as i64], Device::Cpu).to_kind(Kind::Double), "reduced");
        let values = Tensor::from_slice(&(0..d as i32).map(|i| 8.0 * 0.5f64.powi(i)).collect::<Vec<_>>());
        x.matmul(&(&u * values).matmul(&u.transpose(0, 1))) + x.sin() * 0.5
    }

    #[test]
    fn hutch_pp_is_unbiased_and_beats_as_many_products_without_a_sketch() {
        tch::set_num_threads(1);
        let (n, d) = (4000, 24);
        let x = rows(Law::Gaussian, 1, Purpose::Prior, 0..1, 0, &[d], Device::Cpu).to_kind(Kind::Double).repeat([n, 1]);
        let truth = 16.0 * (1.0 - 0.5f64.powi(24)) + to_vec(&(x.get(0).cos() * 0.5).sum(Kind::Double))[0];
        for law in [Law::Rademacher, Law::Gaussian, Law::Sphere] {
            let vectors = |purpose, k: u64| {
                let of = |j| rows(law, 2, purpose, 0..n as u64, j, &[d], Device::Cpu).to_kind(Kind::Double);
                Tensor::stack(&(0..k).map(of).collect::<Vec<_>>(), 0)
            };
            let moments = |probes: Probes| {
                let (_, estimates) = probes.value_and_divergence(decaying, &x);
                let means = to_vec(&estimates.mean_dim(1i64, false, Kind::Double));
                let mean = means.iter().sum::<f64>() / n as f64;
                (mean, means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / n as f64)
            };
            let plain = moments(Probes::Random(vectors(Purpose::Probe, 12)));
            let sketched = moments(Probes::Sketched { sketch: vectors(Purpose::Sketch, 4), probes: vectors(Purpose::Probe, 4) });
            for (mean, variance) in [plain, sketched] {
                assert!((mean - truth).abs() < 4.0 * (variance / n as f64).sqrt(), "{law:?}: {mean} is not {truth}");
            }
            println!("{law:?}: variance {:.4} plain, {:.4} sketched", plain.1, sketched.1);
            assert!(sketched.1 < 0.4 * plain.1, "{law:?}: {} beside {}", sketched.1, plain.1);
        }
    }

    /// The mean over all 2^D vectors of signs is the expectation of a probe.
    #[test]
    fn whatever_the_sketch_the_mean_over_all_signs_is_the_divergence() {
        tch::set_num_threads(1);
        let a = rows(Law::Gaussian, 5, Purpose::Init, 0..6, 0, &[6], Device::Cpu).to_kind(Kind::Double);
        let signs: Vec<f64> = (0..64).flat_map(|i| (0..6).map(move |j| f64::from(i >> j & 1) * 2.0 - 1.0)).collect();
        let x = rows(Law::Gaussian, 1, Purpose::Prior, 0..3, 0, &[6], Device::Cpu).to_kind(Kind::Double);
        for (identity, rest) in [(0.0, 1.0), (-40.0, 1.0), (3.0, 0.0), (1e3, 1e-3)] {
            let field = |x: &Tensor| x * identity + (x.matmul(&a) + x.sin()) * rest;
            let (_, truth) = Probes::Exact.value_and_divergence(field, &x);
            for m in [1, 2, 4] {
                let of = |j| rows(Law::Gaussian, 2, Purpose::Sketch, 0..3, j, &[6], Device::Cpu).to_kind(Kind::Double);
                let sketch = Tensor::stack(&(0..m).map(of).collect::<Vec<_>>(), 0);
                let probes = Tensor::from_slice(&signs).view([64, 1, 6]).expand([64, 3, 6], false);
                let (_, estimates) = Probes::Sketched { sketch, probes }.value_and_divergence(field, &x);
                let apart = to_vec(&(estimates.mean_dim(1i64, true, Kind::Double) - &truth).abs()).into_iter().fold(0.0, f64::max);
                assert!(apart < 1e-10 * (1.0 + f64::abs(identity)), "{apart} off with {identity} I, {m} vectors");
                if rest == 0.0 {
                    let spread = to_vec(&(estimates - &truth).abs()).into_iter().fold(0.0, f64::max);
                    assert!(spread < 1e-11, "c I leaves nothing to chance, but {spread}");
                }
            }
        }
    }

    #[test]
    fn a_sketch_of_all_directions_leaves_nothing_to_chance() {
        tch::set_num_threads(1);
        let (x, truth) = points(5);
        let vectors = |purpose, k| {
            let of = |j| rows(Law::Gaussian, 2, purpose, 0..5, j, &[3], Device::Cpu).to_kind(Kind::Double);
            Tensor::stack(&(0..k).map(of).collect::<Vec<_>>(), 0)
        };
        for m in [3, 5] {
            let probes = Probes::Sketched { sketch: vectors(Purpose::Sketch, m), probes: vectors(Purpose::Probe, 2) };
            let (y, terms) = probes.value_and_divergence(field, &x);
            assert_eq!(to_vec(&y), to_vec(&field(&x)));
            for (terms, truth) in to_vec(&terms).chunks(2).zip(&truth) {
                assert!(terms.iter().all(|term| (term - truth).abs() < 1e-10), "{terms:?} is not {truth}");
            }
        }
    }

    #[test]
    fn a_field_that_does_not_depend_on_x_has_no_divergence() {
        tch::set_num_threads(1);
        let x = points(2).0;
        let weight = Tensor::ones([3], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let v = || rows(Law::Gaussian, 2, Purpose::Probe, 0..2, 0, &[3], Device::Cpu).to_kind(Kind::Double).unsqueeze(0);
        for probes in [Probes::Exact, Probes::Random(v()), Probes::Sketched { sketch: v(), probes: v() }] {
            let (_, terms) = probes.value_and_divergence(|x| x.zeros_like() + &weight, &x);
            assert_eq!(to_vec(&terms), [0.0, 0.0]);
        }
    }
}
