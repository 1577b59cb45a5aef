//! The Vendi score.

use tch::{Kind, Tensor};

use super::estimate::{Estimate, GROUPS, Jackknife};
use super::features::Features;
use crate::error::{Error, Result};

/// The Vendi score of x [N, D], how many examples unlike each other a set is worth (Friedman & Dieng 2023, arXiv 2210.02410): exp(-Σ λ ln λ) over the
/// eigenvalues λ of K/N, where K holds the cosines of the angles between examples, seen from the origin of the features. 1 where all point the same way,
/// min(N, D) at most.
///
/// The eigenvalues are those of a D x D matrix where that is the smaller one. The score of samples is below that of their law, by about c/N where
/// N is far above D; the interval is the jackknife's over ten groups, for the mean at this N. Refuses an example at the origin, which points nowhere.
pub fn vendi(x: &Features) -> Result<Estimate> {
    let mut groups = Vec::with_capacity(GROUPS);
    for g in 0..GROUPS {
        let rows = x.group(g);
        let norms = rows.square().sum_dim_intlist(1i64, true, None::<Kind>).sqrt();
        if norms.min().double_value(&[]) == 0.0 {
            let message = "the features of an example are all 0, which has no angle to others".into();
            return Err(Error::Usage { message, help: "take features without such examples for the Vendi score".into() });
        }
        groups.push(rows / norms);
    }
    let kept = |left_out: usize| groups.iter().enumerate().filter(move |&(g, _)| g != left_out).map(|(_, rows)| rows);
    let entropy = |gram: Tensor, count: f64| {
        let shares = (gram / count).linalg_eigvalsh("L").clamp_min(0.0);
        shares.xlogy(&shares).sum(Kind::Double).neg().exp().double_value(&[])
    };
    let count = |left_out: usize| kept(left_out).map(|rows| rows.size()[0]).sum::<i64>();
    let features = |of: &Tensor| of.tr().matmul(of);
    let narrow = x.width() < count(0);
    let whole = narrow.then(|| groups.iter().map(features).reduce(|sum, gram| sum + gram).expect("ten groups"));
    let without = |left_out: usize| {
        let gram = match &whole {
            Some(whole) => groups.get(left_out).map_or_else(|| whole.shallow_clone(), |group| whole - features(group)),
            None => {
                let rows = Tensor::cat(&kept(left_out).collect::<Vec<_>>(), 0);
                rows.matmul(&rows.tr())
            }
        };
        entropy(gram, count(left_out) as f64)
    };
    Ok(Jackknife::new(without).plain())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::calibrated;
    use crate::rng::{Purpose, uniform};
    use tch::Device;

    /// Points on the axes of a space: exp of the entropy of the axes' law.
    fn on_axes(seed: u64, n: usize, d: usize, scale: f64) -> Features {
        let axis = |u: f64| ((d * (d + 1) / 2) as f64 * u, d);
        let of = |u: f64| {
            let (mut rest, axes) = axis(u);
            (0..axes)
                .find(|i| {
                    rest -= (i + 1) as f64;
                    rest < 0.0
                })
                .unwrap_or(axes - 1) as i64
        };
        let places: Vec<i64> = uniform(seed, Purpose::Noise, 0, n).into_iter().map(of).collect();
        let rows = Tensor::eye(d as i64, (Kind::Double, Device::Cpu)).index_select(0, &Tensor::from_slice(&places)) * scale;
        Features::new("x", &rows, 1).unwrap()
    }

    #[test]
    fn intervals_hold_the_entropy_of_axes() {
        let d = 5;
        let share = |i: usize| i as f64 / (d * (d + 1) / 2) as f64;
        let truth = (1..=d).map(|i| -share(i) * share(i).ln()).sum::<f64>().exp();
        calibrated("Vendi", truth, |i| vendi(&on_axes(i, 2000, d, 3.0)).unwrap());
    }

    /// The matrix of examples has the eigenvalues of that of features.
    #[test]
    fn wide_features_have_the_score_of_narrow_ones() {
        tch::set_num_threads(1);
        let x = crate::metric::tests::normal(1, 40, 3);
        let [narrow, wide] = [x.shallow_clone(), x.constant_pad_nd([0, 60])].map(|x| vendi(&Features::new("x", &x, 1).unwrap()).unwrap());
        assert!((narrow.value - wide.value).abs() < 1e-9 && (narrow.half_width - wide.half_width).abs() < 1e-9);
        assert!(narrow.value > 2.0 && narrow.value < 3.0);
        let _ = x.get(3).fill_(0.0);
        assert!(vendi(&Features::new("x", &x, 1).unwrap()).is_err_and(|error| error.to_string().contains("all 0")));
    }
}
