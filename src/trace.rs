//! Divergence of a vector field from products of its Jacobian with probes.

use tch::{Kind, Tensor, no_grad, with_grad};

/// y = f(x) and the terms v_jᵀ (∂f/∂x) v_j, from one forward and k backward passes.
///
/// `x` [B, ...]; `probes` [k, B or 1, D] with D the numbers in one example; returns y [B, ...] and the terms [B, k], both without a graph.
/// E v vᵀ = I makes each term an unbiased estimate of div f (Hutchinson 1989); unit vectors, summed, give it exactly.
pub fn value_and_divergence(f: impl FnOnce(&Tensor) -> Tensor, x: &Tensor, probes: &Tensor) -> (Tensor, Tensor) {
    let x = x.detach().set_requires_grad(true);
    let y = with_grad(|| f(&x));
    let flat = with_grad(|| y.flatten(1, -1));
    let k = probes.size()[0];
    let terms: Vec<Tensor> = (0..k)
        .map(|j| {
            let v = probes.select(0, j);
            let projection = with_grad(|| (&flat * &v).sum(None::<Kind>));
            let product = Tensor::run_backward(&[projection], &[&x], j + 1 < k, false).remove(0);
            no_grad(|| {
                if product.defined() {
                    (product.flatten(1, -1) * v).sum_dim_intlist(1i64, false, None::<Kind>)
                } else {
                    x.new_zeros([x.size()[0]], (x.kind(), x.device()))
                }
            })
        })
        .collect();
    (y.detach(), Tensor::stack(&terms, 1))
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
        for law in [Law::Rademacher, Law::Gaussian] {
            let probes = rows(law, 2, Purpose::Probe, 0..20_000, 0, &[3], Device::Cpu).to_kind(Kind::Double).unsqueeze(0);
            let estimates = to_vec(&value_and_divergence(field, &x, &probes).1);
            let mean = estimates.iter().sum::<f64>() / 20_000.0;
            let variance = estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / 20_000.0;
            assert!(variance > 1.0, "{law:?} must have variance here");
            assert!((mean - truth[0]).abs() < 4.0 * (variance / 20_000.0).sqrt(), "{law:?}: {mean} is not {}", truth[0]);
        }
    }
}
