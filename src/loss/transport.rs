//! Pairs of examples and noise by optimal transport within a batch.

use pathfinding::prelude::{Matrix, kuhn_munkres};
use tch::{Device, Kind, Tensor};

/// Costs are whole numbers up to this one.
const FINEST: f64 = (1u64 << 40) as f64;

/// The noise of a batch in the order that makes Σ ‖x_i - z_π(i)‖² least, of all orders π: `x0` and `z` [B, ...] -> [B, ...]. O(B³) at worst, on the
/// CPU; where orders are equally good to twelve digits, one of them.
pub fn paired_by_transport(x0: &Tensor, z: &Tensor) -> Tensor {
    let [x, noise] = [x0, z].map(|tensor| tensor.detach().flatten(1, -1).to_kind(Kind::Double));
    // ‖x‖² and ‖z‖² are the same in any order.
    let gains = x.matmul(&noise.tr());
    let largest = gains.abs().max().double_value(&[]);
    if !(largest > 0.0 && largest.is_finite()) {
        // Of numbers that are none the loss will tell.
        return z.shallow_clone();
    }
    let gains = (gains * (FINEST / largest)).round().to_kind(Kind::Int64).to_device(Device::Cpu).contiguous();
    let n = x0.size()[0] as usize;
    let gains = Matrix::from_vec(n, n, Vec::<i64>::try_from(gains.view(-1)).expect("whole numbers")).expect("n times n gains");
    let order: Vec<i64> = kuhn_munkres(&gains).1.into_iter().map(|i| i as i64).collect();
    z.index_select(0, &Tensor::from_slice(&order).to_device(z.device()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::to_vec;
    use crate::testing::normal;

    fn cost(x: &Tensor, z: &Tensor) -> f64 {
        (x - z).square().sum(Kind::Double).double_value(&[])
    }

    /// The least cost of all orders, by trying them.
    fn least(x: &Tensor, z: &Tensor, order: &mut Vec<i64>) -> f64 {
        let n = x.size()[0];
        if order.len() as i64 == n {
            return cost(x, &z.index_select(0, &Tensor::from_slice(order)));
        }
        let free: Vec<i64> = (0..n).filter(|i| !order.contains(i)).collect();
        free.into_iter()
            .map(|i| {
                order.push(i);
                let cost = least(x, z, order);
                order.pop();
                cost
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_order_of_a_few_is_better() {
        tch::set_num_threads(1);
        for seed in 0..20 {
            let (x, z) = (normal(seed, &[5, 2, 2]) * 3.0 + 1.0, normal(seed + 100, &[5, 2, 2]));
            let got = cost(&x, &paired_by_transport(&x, &z));
            let truth = least(&x, &z, &mut Vec::new());
            assert!((got - truth).abs() < 1e-9, "{got} is not {truth}");
        }
    }

    #[test]
    fn on_a_line_both_ascend_together() {
        tch::set_num_threads(1);
        let (x, z) = (normal(1, &[300, 1]), normal(2, &[300, 1]));
        let paired = paired_by_transport(&x, &z);
        let ascending = |of: &Tensor, by: &Tensor| to_vec(&of.index_select(0, &by.view(-1).argsort(0, false)));
        assert_eq!(ascending(&paired, &x), ascending(&z, &z));
    }

    #[test]
    fn equal_examples_and_numbers_that_are_none_are_no_trouble() {
        tch::set_num_threads(1);
        let z = normal(2, &[40, 2]);
        let sum = |x: &Tensor| to_vec(&x.sum_dim_intlist(0i64, false, Kind::Double));
        for x in [z.zeros_like(), normal(1, &[1, 2]).repeat([40, 1]), z.copy(), z.full_like(f64::NAN)] {
            let paired = paired_by_transport(&x, &z);
            assert!(sum(&paired).iter().zip(sum(&z)).all(|(a, b)| (a - b).abs() < 1e-9), "all of the noise is there");
        }
        assert!(paired_by_transport(&z, &z).equal(&z));
    }
}
