//! Draws of a process's noise.

use std::ops::Range;

use tch::{Device, Tensor};

use crate::rng::{self, Law, Purpose};
use crate::sde::NoiseLaw;

/// z of a process in rows [rows, shape...], each a function of (seed, purpose, row, draw), f32.
pub fn noise_rows(noise: NoiseLaw, seed: u64, purpose: Purpose, rows: Range<u64>, draw: u64, shape: &[i64], device: Device) -> Tensor {
    match noise {
        NoiseLaw::Normal => rng::rows(Law::Gaussian, seed, purpose, rows, draw, shape, device),
        NoiseLaw::Student { freedom } => rng::student_rows(freedom, seed, purpose, rows, draw, shape, device),
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::tensor::to_vec;

    const N: u64 = 40_000;

    /// The part of z with ‖z‖ below r, in the plane: 1 - (1 + r² / ν)^(-ν/2).
    #[test]
    fn students_rows_have_its_law_and_no_place_in_the_batch() {
        tch::set_num_threads(1);
        for freedom in [1.0, 4.0, 1e6] {
            let draw = |rows| noise_rows(NoiseLaw::Student { freedom }, 1, Purpose::Noise, rows, 0, &[2], Device::Cpu);
            let z = draw(0..N);
            let norms = z.to_kind(Kind::Double).square().sum_dim_intlist(1i64, false, None::<Kind>);
            for r in [0.3f64, 1.0, 2.5, 8.0] {
                let truth = 1.0 - (1.0 + r * r / freedom).powf(-0.5 * freedom);
                let part = norms.lt(r * r).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
                assert!(
                    (part - truth).abs() < 4.5 * (truth * (1.0 - truth) / N as f64).sqrt(),
                    "ν = {freedom}, r = {r}: {part} is not {truth}"
                );
            }
            assert_eq!(to_vec(&draw(7..9)), to_vec(&z.narrow(0, 7, 2)));
        }
    }
}
