//! Whether two models give the same examples the same codes (Song et al. 2021, appendix D.5).

use serde::Serialize;
use tch::{Kind, Tensor};

/// Codes of the same examples by two models, each component by itself.
pub struct Agreement {
    /// The correlation over examples of each component of the codes [...].
    pub correlation: Tensor,
    /// √E (a - b)² of each.
    pub distance: Tensor,
    pub report: AgreementReport,
}

/// In reports: how far two models' codes of the same examples agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgreementReport {
    #[serde(flatten)]
    pub same: Means,
    /// The same of each example's code and that of the next example, which would be 0 and √2 by independent codes.
    pub shuffled: Means,
}

/// Means over the components of codes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Means {
    pub correlation: MeanOfComponents,
    pub distance: MeanOfComponents,
}

/// A mean over components with its standard error over examples, by the jackknife.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanOfComponents {
    pub mean: f64,
    pub standard_error: f64,
}

impl AgreementReport {
    /// For people.
    pub fn line(&self) -> String {
        let number = |MeanOfComponents { mean, standard_error }: MeanOfComponents| format!("{mean:.4} ± {standard_error:.4}");
        let both =
            |Means { correlation, distance }: &Means| format!("correlation {}, distance {}", number(*correlation), number(*distance));
        format!("the two codes: {}; with the next example's: {}", both(&self.same), both(&self.shuffled))
    }
}

impl Agreement {
    /// Examples that a correlation has an error for: without one of them there are two left, whose correlation is ±1.
    pub const LEAST: usize = 4;

    /// Of codes a and b [N, ...] of the same N examples, in units of the standard deviation of their priors; N at least [`Agreement::LEAST`].
    pub fn of(a: &Tensor, b: &Tensor) -> Agreement {
        let (correlation, distance, same) = compared(a, b);
        let (.., shuffled) = compared(a, &b.roll([-1], [0]));
        Agreement { correlation, distance, report: AgreementReport { same, shuffled } }
    }
}

/// Correlation and distance of each component, and their means.
fn compared(a: &Tensor, b: &Tensor) -> (Tensor, Tensor, Means) {
    let [a, b] = [a, b].map(|x| x.to_kind(Kind::Double));
    let n = a.size()[0] as f64;
    // The mean of what five moments are of all but one example [N, ...], and of all [1, ...].
    let moments = [&a, &b, &(&a * &a), &(&b * &b), &(&a * &b)].map(|x| (x.shallow_clone(), x.sum_dim_intlist(0i64, true, None::<Kind>)));
    let whole = moments.each_ref().map(|(_, sum)| sum / n);
    let without = moments.map(|(each, sum)| (sum - each) / (n - 1.0));
    let (correlation, distance) = (correlation(&whole), distance(&whole));
    let means = Means {
        correlation: jackknife(&correlation, &self::correlation(&without)),
        distance: jackknife(&distance, &self::distance(&without)),
    };
    (correlation.squeeze_dim(0), distance.squeeze_dim(0), means)
}

/// From E a, E b, E a², E b², E a b.
fn correlation([a, b, aa, bb, ab]: &[Tensor; 5]) -> Tensor {
    (ab - a * b) / ((aa - a.square()) * (bb - b.square())).sqrt()
}

fn distance([.., aa, bb, ab]: &[Tensor; 5]) -> Tensor {
    (aa + bb - ab * 2.0).clamp_min(0.0).sqrt()
}

/// From a number of each component by all examples [1, ...], and by all but one [N, ...]: √((N - 1)/N Σ (θ_i - mean θ)²) with θ the mean over
/// components.
fn jackknife(whole: &Tensor, without: &Tensor) -> MeanOfComponents {
    let n = without.size()[0] as f64;
    let each = without.flatten(1, -1).mean_dim(1i64, false, Kind::Double);
    let squares = (&each - each.mean(Kind::Double)).square().sum(Kind::Double).double_value(&[]);
    MeanOfComponents { mean: whole.mean(Kind::Double).double_value(&[]), standard_error: ((n - 1.0) / n * squares).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{largest, normal};
    use statrs::statistics::Statistics as _;

    /// Codes a, and b with a correlation of ρ to them in every component.
    fn pair(draw: u64, n: i64, rho: f64) -> (Tensor, Tensor) {
        let (a, z) = (normal(2 * draw, &[n, 2, 5]), normal(2 * draw + 1, &[n, 2, 5]));
        let b = &a * rho + z * (1.0 - rho * rho).sqrt();
        (a, b)
    }

    #[test]
    fn codes_agree_with_themselves_and_with_no_others() {
        tch::set_num_threads(1);
        let (a, other) = pair(1, 400, 0.0);
        let Agreement { correlation, distance, report } = Agreement::of(&a, &(&a * 3.0 + 1.0));
        assert_eq!((correlation.size(), distance.size()), (vec![2, 5], vec![2, 5]));
        assert!(largest(&(correlation - 1.0)) < 1e-12 && report.same.correlation.standard_error < 1e-12);
        let same = Agreement::of(&a, &a).report;
        assert!(same.same.distance.mean < 1e-6 && same.same.distance.standard_error < 1e-6, "{same:?}");
        for independent in [same.shuffled, Agreement::of(&a, &other).report.same] {
            let Means { correlation, distance } = independent;
            assert!(correlation.mean.abs() < 4.0 * correlation.standard_error, "{correlation:?}");
            assert!((distance.mean - 2f64.sqrt()).abs() < 4.0 * distance.standard_error, "{distance:?}");
        }
    }

    /// E r = ρ but for terms of 1/N, and the distance is √(2 - 2ρ).
    #[test]
    fn the_errors_of_an_agreement_are_calibrated() {
        tch::set_num_threads(1);
        let (rho, repeats) = (0.9, 200);
        let all: Vec<Means> = (0..repeats)
            .map(|draw| {
                let (a, b) = pair(10 + draw, 60, rho);
                Agreement::of(&a, &b).report.same
            })
            .collect();
        for (of, truth) in [(0, rho), (1, (2.0 - 2.0 * rho).sqrt())] {
            let numbers: Vec<MeanOfComponents> = all.iter().map(|means| [means.correlation, means.distance][of]).collect();
            let means: Vec<f64> = numbers.iter().map(|number| number.mean).collect();
            let error = numbers.iter().map(|number| number.standard_error.powi(2)).mean().sqrt();
            assert!(((&means).mean() / truth - 1.0).abs() < 0.01, "{} is not {truth}", (&means).mean());
            assert!(((&means).std_dev() / error - 1.0).abs() < 0.2, "{} is not {error}", (&means).std_dev());
        }
    }
}
