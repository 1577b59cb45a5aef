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

/// Examples y [M, D] as they are seen from one of them, so that little is lost by subtraction.
struct Others {
    origin: Tensor,
    /// y - o.
    rows: Tensor,
    /// ‖y - o‖² and o·(y - o), `[M]`.
    norms: Tensor,
    along: Tensor,
}

fn norms(x: &Tensor) -> Tensor {
    Tensor::einsum("nd,nd->n", &[x, x], None::<i64>)
}

impl Others {
    fn new(mut y: Tensor) -> Others {
        let origin = y.get(0).copy();
        let rows = y.g_sub_(&origin);
        Others { norms: norms(&rows), along: rows.mv(&origin), origin, rows }
    }

    fn count(&self) -> i64 {
        self.rows.size()[0]
    }

    /// Of rows x [N, D] and these.
    fn pairs(&self, x: &Tensor) -> Pairs {
        let Others { origin, rows, norms: of_y, along } = self;
        let a = x - origin;
        let products = a.matmul(&rows.tr());
        let squares = (norms(&a).unsqueeze(1) + of_y - &products * 2.0).clamp_min(0.0);
        // x·y = (x - o)·(y - o) + o·x + o·(y - o).
        Pairs { products: products + x.mv(origin).unsqueeze(1) + along, squares }
    }
}

fn zeros(features: &Features) -> Vec<Tensor> {
    (0..GROUPS).map(|g| Tensor::zeros([features.group_count(g)], (Kind::Double, features.device()))).collect()
}

/// Of each kernel, over the pairs of x [N, D] and y [M, D].
pub(super) fn between(x: &Features, y: &Features, kernels: &[Kernel]) -> Vec<Sums> {
    let mut open: Vec<_> = kernels.iter().map(|_| (zeros(x), zeros(y), vec![vec![0.0; GROUPS]; GROUPS])).collect();
    for h in 0..GROUPS {
        let y = Others::new(y.group(h));
        for g in 0..GROUPS {
            let mut start = 0;
            for block in blocks(&x.group(g), y.count()) {
                let (pairs, rows) = (y.pairs(&block), block.size()[0]);
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
        let y = Others::new(x.group(h));
        for g in 0..=h {
            let mut start = 0;
            for block in blocks(&x.group(g), y.count()) {
                let (pairs, rows) = (y.pairs(&block), block.size()[0]);
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
