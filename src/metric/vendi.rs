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
    let group = |g: usize| {
        let rows = x.group(g);
        let norms = rows.square().sum_dim_intlist(1i64, true, None::<Kind>).sqrt();
        (norms.min().double_value(&[]) > 0.0).then(|| rows / norms)
    };
    let gram = |rows: Tensor| rows.tr().matmul(&rows);
    let entropy = |gram: Tensor, count: i64| {
        let shares = (gram / count as f64).linalg_eigvalsh("L").clamp_min(0.0);
        shares.xlogy(&shares).sum(Kind::Double).neg().exp().double_value(&[])
    };
    let pointless = || {
        let message = "the features of an example are all 0, which has no angle to others".into();
        Error::Usage { message, help: "take features without such examples for the Vendi score".into() }
    };
    let kept = |left_out: usize| (0..GROUPS).filter(move |&g| g != left_out);
    let count = |left_out: usize| kept(left_out).map(|g| x.group_count(g)).sum::<i64>();
    if x.width() >= count(0) {
        let groups = (0..GROUPS).map(group).collect::<Option<Vec<Tensor>>>().ok_or_else(pointless)?;
        let without = |left_out: usize| {
            let rows = Tensor::cat(&kept(left_out).map(|g| &groups[g]).collect::<Vec<_>>(), 0);
            entropy(rows.matmul(&rows.tr()), count(left_out))
        };
        return Ok(Jackknife::new(without).plain());
    }
    // One group after the other, since all of them in f64 are twice the features.
    let whole = Tensor::zeros([x.width(), x.width()], (Kind::Double, x.device()));
    for g in 0..GROUPS {
        let _ = whole.shallow_clone().g_add_(&gram(group(g).ok_or_else(pointless)?));
    }
    let without = |left_out: usize| match left_out {
        GROUPS => entropy(whole.copy(), count(left_out)),
        g => entropy(&whole - gram(group(g).expect("it has angles")), count(left_out)),
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
