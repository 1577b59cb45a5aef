//! Sums of kernels over the pairs of examples: one product of matrices for all kernels, and each pair of a set once.

use tch::{Kind, Tensor};

use super::estimate::GROUPS;
use super::features::{Features, blocks};

/// What kernels are made of, for some pairs of examples, [N, M] each.
pub(super) struct Pairs {
    /// x·y.
    pub products: Tensor,
    /// ‖x - y‖², to about 1e-16 of the largest.
    pub squares: Tensor,
}

/// A kernel: [N, M] for the pairs of N and M examples.
pub(super) type Kernel<'a> = &'a dyn Fn(&Pairs) -> Tensor;

/// Sums of a kernel k over pairs of examples.
pub(super) struct Sums {
    /// Of k(x, y) over y, for each x, and over x, for each y, in the order of their groups.
    pub of_x: Tensor,
    pub of_y: Tensor,
    /// Over the pairs of a group of x and one of y.
    pub of_groups: Vec<Vec<f64>>,
}

impl Pairs {
    /// Of rows x [N, D] and y [M, D].
    fn new(x: &Tensor, y: &Tensor) -> Pairs {
        // Seen from one of them, little is lost by subtraction.
        let origin = y.get(0);
        let (a, b) = (x - &origin, y - &origin);
        let norms = |x: &Tensor| x.square().sum_dim_intlist(1i64, false, None::<Kind>);
        let products = a.matmul(&b.tr());
        let squares = (norms(&a).unsqueeze(1) + norms(&b) - &products * 2.0).clamp_min(0.0);
        // x·y = (x - o)·(y - o) + o·x + o·(y - o).
        Pairs { products: products + x.mv(&origin).unsqueeze(1) + b.mv(&origin), squares }
    }
}

fn zeros(features: &Features) -> Vec<Tensor> {
    (0..GROUPS).map(|g| Tensor::zeros([features.group_count(g)], (Kind::Double, features.device()))).collect()
}

/// Of each kernel, over the pairs of x [N, D] and y [M, D].
pub(super) fn between(x: &Features, y: &Features, kernels: &[Kernel]) -> Vec<Sums> {
    let mut open: Vec<_> = kernels.iter().map(|_| (zeros(x), zeros(y), vec![vec![0.0; GROUPS]; GROUPS])).collect();
    for h in 0..GROUPS {
        let y = y.group(h);
        for g in 0..GROUPS {
            let mut start = 0;
            for block in blocks(&x.group(g), y.size()[0]) {
                let (pairs, rows) = (Pairs::new(&block, &y), block.size()[0]);
                for (kernel, (of_x, of_y, of_groups)) in kernels.iter().zip(&mut open) {
                    let values = kernel(&pairs);
                    let own = values.sum_dim_intlist(1i64, false, None::<Kind>);
                    of_groups[g][h] += own.sum(None).double_value(&[]);
                    let mut part = of_x[g].narrow(0, start, rows);
                    part += own;
                    of_y[h] += values.sum_dim_intlist(0i64, false, None::<Kind>);
                }
                start += rows;
            }
        }
    }
    open.into_iter().map(|(of_x, of_y, of_groups)| Sums { of_x: Tensor::cat(&of_x, 0), of_y: Tensor::cat(&of_y, 0), of_groups }).collect()
}

/// Of each symmetric kernel, over the pairs of different examples of x [N, D].
pub(super) fn within(x: &Features, kernels: &[Kernel]) -> Vec<Sums> {
    let mut open: Vec<_> = kernels.iter().map(|_| (zeros(x), vec![vec![0.0; GROUPS]; GROUPS])).collect();
    for h in 0..GROUPS {
        let y = x.group(h);
        for g in 0..=h {
            let mut start = 0;
            for block in blocks(&x.group(g), y.size()[0]) {
                let (pairs, rows) = (Pairs::new(&block, &y), block.size()[0]);
                for (kernel, (of_x, of_groups)) in kernels.iter().zip(&mut open) {
                    let values = kernel(&pairs);
                    if g == h {
                        let _ = values.narrow(1, start, rows).diagonal(0, 0, 1).fill_(0.0);
                    }
                    let own = values.sum_dim_intlist(1i64, false, None::<Kind>);
                    of_groups[g][h] += own.sum(None).double_value(&[]);
                    let mut part = of_x[g].narrow(0, start, rows);
                    part += own;
                    if g != h {
                        of_x[h] += values.sum_dim_intlist(0i64, false, None::<Kind>);
                    }
                }
                start += rows;
            }
            open.iter_mut().for_each(|(_, of_groups)| of_groups[h][g] = of_groups[g][h]);
        }
    }
    let sums = |(of_x, of_groups): (Vec<Tensor>, _)| {
        let of_x = Tensor::cat(&of_x, 0);
        Sums { of_y: of_x.shallow_clone(), of_x, of_groups }
    };
    open.into_iter().map(sums).collect()
}
