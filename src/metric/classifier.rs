//! The classifier two-sample test.

use tch::{Kind, Reduction, Tensor, no_grad};

use super::estimate::{Estimate, GROUPS, Jackknife};
use super::features::Features;
use crate::error::Result;
use crate::net::perceptron::Perceptron;
use crate::optim::{Adam, Builder};
use crate::tensor::{select, to_vec};

/// Examples of each set of features.
const MOST: i64 = 10_000;
const FOLDS: usize = 5;
const AT_ONCE: i64 = 1024;
const WIDTH: i64 = 32;
const DEPTH: usize = 2;
const STEPS: u64 = 400;
/// Parts of the training points, one a step.
const BATCHES: i64 = 8;
const RATE: f64 = 5e-3;
const DECAY: f64 = 1e-3;
/// Standard deviations beyond which all points are alike.
const FAR: f64 = 10.0;

/// How well a network tells examples of x [N, D] from those of y [M, D], by [`classifier_accuracy`] of as many
/// examples of each, in an order that says nothing of them: 10,000 at most, which are enough for an interval of a hundredth.
pub fn told_apart(x: &Features, y: &Features, seed: u64) -> Result<Estimate> {
    x.beside(y)?;
    let most = MOST / GROUPS as i64;
    let counts: Vec<i64> = (0..GROUPS).map(|g| x.group_count(g).min(y.group_count(g)).min(most)).collect();
    let points = |set: &Features| {
        let groups: Vec<Tensor> = counts.iter().enumerate().map(|(g, &count)| set.given_group(g).narrow(0, 0, count)).collect();
        Tensor::cat(&groups, 0).unsqueeze(1)
    };
    let (x, y) = (points(x), points(y));
    let right = accuracies(&x, &y, &Tensor::zeros([x.size()[0], 0], (x.kind(), x.device())), seed);
    let whole = Estimate::of_mean(&right);
    let mut rest = &right[..];
    let sums: Vec<f64> = counts.iter().map(|&count| rest.split_off(..count as usize).expect("all groups").iter().sum()).collect();
    let without = |left_out: usize| {
        let kept = || (0..GROUPS).filter(move |&g| g != left_out);
        kept().map(|g| sums[g]).sum::<f64>() / kept().map(|g| counts[g] as f64).sum::<f64>()
    };
    Ok(Jackknife::new(without).within(whole.half_width))
}

/// How well a network tells x from x' given y (Lopez-Paz & Oquab 2017, arXiv 1610.06545): its accuracy on pairs that it was not trained on,
/// 1/2 where the laws are equal, 1 where they do not overlap.
///
/// `x` and `other` [N, L, D] are L points of each law given each of `given` [N, M], N at least 10. A small perceptron of (x, y) is trained
/// on four fifths of the y and asked on the last, in turn. The interval takes the accuracies of the y for independent, as they are but
/// for the networks that they share. Initial weights are a function of `seed`.
pub fn classifier_accuracy(x: &Tensor, other: &Tensor, given: &Tensor, seed: u64) -> Estimate {
    Estimate::of_mean(&accuracies(x, other, given, seed))
}

/// The accuracy on the points of each y.
fn accuracies(x: &Tensor, other: &Tensor, given: &Tensor, seed: u64) -> Vec<f64> {
    let (n, draws) = (x.size()[0] as usize, x.size()[1]);
    let y = given.unsqueeze(1).expand([n as i64, draws, given.size()[1]], false);
    let both = |x: &Tensor| Tensor::cat(&[x, &y.to_kind(x.kind())], 2);
    // [N, 2 L, D + M]
    let scale = both(other).to_kind(Kind::Double);
    let axes = [0i64, 1];
    let (mean, std) = (scale.mean_dim(axes.as_slice(), true, None::<Kind>), scale.std_dim(axes.as_slice(), true, true));
    // By the second law alone, so that points that have run away hide nothing.
    let std = std.clamp_min(1e-12);
    let standard = |x: &Tensor| ((x.to_kind(Kind::Double) - &mean) / &std).clamp(-FAR, FAR).to_kind(Kind::Float);
    // Some at once, since wide features are large in f64.
    let standard = |x: &Tensor| Tensor::cat(&both(x).split(AT_ONCE, 0).iter().map(standard).collect::<Vec<_>>(), 0);
    let points = Tensor::cat(&[standard(x), standard(other)], 1);
    let labels = Tensor::cat(&[Tensor::zeros([draws], (Kind::Float, x.device())), Tensor::ones([draws], (Kind::Float, x.device()))], 0);
    let mut right = Vec::with_capacity(n);
    for fold in 0..FOLDS {
        let held = fold * n / FOLDS..(fold + 1) * n / FOLDS;
        let (tested, trained): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| held.contains(i));
        let classifier = trained_on(&select(&points, &trained), &labels, seed);
        let logits = no_grad(|| classifier.forward(&select(&points, &tested)).squeeze_dim(-1));
        let correct = logits.gt(0.0).to_kind(Kind::Float).eq_tensor(&labels).to_kind(Kind::Double);
        right.extend(to_vec(&correct.mean_dim(1i64, false, Kind::Double)));
    }
    right
}

/// A perceptron [N, 2 L, D + M] -> logit [N, 2 L, 1], trained by Adam on the cross-entropy.
fn trained_on(points: &Tensor, labels: &Tensor, seed: u64) -> Perceptron {
    let builder = Builder::new(seed, Kind::Float, points.device());
    let features = points.size()[2];
    let network = Perceptron::new([features, WIDTH, 1], DEPTH, 1.0, &builder);
    let parameters = builder.finish();
    let mut adam = Adam::new(parameters.flat(), [0.9, 0.999], 1e-8, DECAY);
    let labels = labels.expand([points.size()[0], labels.size()[0]], false).reshape([-1]);
    let points = points.reshape([-1, features]);
    let whole = Tensor::from(1.0f32).to_device(points.device());
    for n in 1..=STEPS {
        let part = |of: &Tensor| of.slice(0, (n as i64) % BATCHES, None, BATCHES);
        let logits = network.forward(&part(&points)).squeeze_dim(-1);
        let loss = logits.binary_cross_entropy_with_logits::<Tensor>(&part(&labels), None, None, Reduction::Mean);
        let rate = RATE * (1.0 - (n - 1) as f64 / STEPS as f64);
        adam.update(parameters.flat(), (&parameters.gradient(&loss), &whole), rate, n, |_, _| ());
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::normal;

    #[test]
    fn it_is_blind_to_one_law_and_sees_another_as_well_as_can_be() {
        tch::set_num_threads(1);
        let (n, draws) = (120, 10);
        let given = normal(1, n, 2);
        let points = |seed: u64, slope: f64| {
            let mean = (given.select(1, 0) * slope).view([-1, 1, 1]);
            normal(seed, n * draws, 1).view([n as i64, draws as i64, 1]) + mean
        };
        let same = classifier_accuracy(&points(2, 1.0), &points(3, 1.0), &given, 1);
        assert!((same.value - 0.5).abs() < same.half_width + 0.01 && same.half_width < 0.03, "{same:?}");
        // They differ by their slopes alone, as laws of x and y together: the best accuracy is E Φ(|y|).
        let other = classifier_accuracy(&points(2, 1.0), &points(3, -1.0), &given, 1);
        let best = to_vec(&given.select(1, 0).abs().special_ndtr()).iter().sum::<f64>() / n as f64;
        assert!((other.value - best).abs() < 0.03, "{other:?} is not {best}");
    }
}
