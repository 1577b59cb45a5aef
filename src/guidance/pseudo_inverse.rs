//! x_0 given x_t taken for a round Gaussian around the denoised state.

use tch::{Device, Kind, Tensor};

use crate::measurement::{Measurement, Operator};
use crate::sde::Level;
use crate::tensor::column_of;

/// x_0 given x_t is N(x̂, r² I) with r² = s² σ² / (α² s² + σ²), which it is for x_0 ~ N(μ, s² I), so that y given x_t is N(A x̂, S) with
/// S = σ_y² I + r² A Aᵀ.
pub(super) struct PseudoInverse {
    /// s.
    data_std: f64,
    /// σ_y.
    noise: f64,
    gram: Gram,
}

/// A Aᵀ.
enum Gram {
    /// c I.
    Multiple(f64),
    /// U diag(e) Uᵀ: U [M, M] and e `[M]`.
    Eigen { vectors: Tensor, values: Tensor },
}

impl PseudoInverse {
    pub fn new(measurement: &Measurement, data_std: f64, device: Device) -> PseudoInverse {
        PseudoInverse { data_std, noise: measurement.sigma, gram: Gram::of(&*measurement.operator, device) }
    }

    /// S⁻¹ b [B, M], each example at the level of its own time.
    pub fn solve(&self, b: &Tensor, t: &[f64], level: &dyn Fn(f64) -> Level) -> Tensor {
        let variance = column_of(b, t, |t| {
            let Level { alpha, sigma, .. } = level(t);
            let (data, noise) = (self.data_std.powi(2), sigma.powi(2));
            data * noise / (alpha.powi(2) * data + noise)
        });
        self.gram.solve(&variance, self.noise.powi(2), b)
    }
}

impl Gram {
    fn of(operator: &dyn Operator, device: Device) -> Gram {
        if let Some(multiple) = operator.gram() {
            return Gram::Multiple(multiple);
        }
        // Row by row, since A itself may have many more columns.
        let gram = operator.apply(&operator.adjoint(&Tensor::eye(operator.rows(), (Kind::Double, device))));
        let (values, vectors) = gram.linalg_eigh("L");
        Gram::Eigen { vectors, values }
    }

    /// (v A Aᵀ + s I)⁻¹ b [B, M] for v [B, 1].
    fn solve(&self, v: &Tensor, s: f64, b: &Tensor) -> Tensor {
        match self {
            Gram::Multiple(multiple) => b / (v * *multiple + s),
            Gram::Eigen { vectors, values } => {
                let (vectors, values) = (vectors.to_kind(b.kind()), values.to_kind(b.kind()));
                (b.matmul(&vectors) / (v * values + s)).matmul(&vectors.tr())
            }
        }
    }
}
