//! The Markov chains with N noise levels that VP and VE are the limits of: DDPM's (Ho et al. 2020) and NCSN's (Song & Ermon 2019).

use super::{Level, Sde, Transition};

/// The levels i = 0, …, N - 1 at the times i / (N - 1), by their marginals p(x_i | x_0) = N(α_i x_0, σ_i² I).
#[derive(Clone, Debug)]
pub struct Chain {
    levels: Vec<Level>,
}

impl Chain {
    /// From the N pairs (α_i, σ_i).
    pub(super) fn new(n: usize, marginals: impl Iterator<Item = (f64, f64)>) -> Chain {
        Chain { levels: marginals.enumerate().map(|(i, (alpha, sigma))| Level { t: time_of(i, n), alpha, sigma }).collect() }
    }

    /// N.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Never true: a chain has a first and a last level.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// From the lowest to the highest.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The time of level i.
    pub fn time(&self, i: usize) -> f64 {
        time_of(i, self.len())
    }

    /// The level at t or just before it, with t for its time.
    pub fn level(&self, t: f64) -> Level {
        Level { t, ..self.levels[place_of(t, self.len())] }
    }

    /// The step down from the level at t or just before it; from the lowest it leads to the data.
    pub fn step(&self, t: f64) -> Transition {
        let place = place_of(t, self.len());
        let below = if place == 0 { Level::DATA } else { self.levels[place - 1] };
        Transition::new(self.levels[place], below)
    }
}

/// The chain of a process that has none of its own in the literature: level i is what the process has reached at (i + 1) / N, or, where it ends
/// without a signal, before that: no step leaves less than 0.001 of the signal-to-noise ratio, as no β_i of the cosine chain is above 0.999.
pub(super) fn sampled<S: Sde + ?Sized>(sde: &S, levels: usize) -> Chain {
    Chain::new(levels, (0..levels).map(|i| reached(sde, i, levels)).map(|level| (level.alpha, level.sigma)))
}

/// (f, G) of the step of that chain, x' = x + f x + G z.
pub(super) fn sampled_step<S: Sde + ?Sized>(sde: &S, t: f64, steps: usize) -> (f64, f64) {
    let i = place_of(t, steps);
    let below = if i == 0 { Level::DATA } else { reached(sde, i - 1, steps) };
    let step = Transition::new(reached(sde, i, steps), below);
    (step.shrinkage() - 1.0, step.beta.sqrt())
}

fn reached<S: Sde + ?Sized>(sde: &S, i: usize, levels: usize) -> Level {
    let at = |i: usize| sde.level(i as f64 / levels as f64);
    let (here, least) = (at(i + 1), at(i).log_snr() + 1e-3f64.ln());
    if i == 0 || here.log_snr() >= least { here } else { sde.level(sde.time_of_log_snr(least)) }
}

/// i / (N - 1).
pub(super) fn time_of(i: usize, levels: usize) -> f64 {
    i as f64 / (levels - 1) as f64
}

/// ⌊t (N - 1)⌋, the level at t or just before it; a level's own time counts as reached whatever its last digit.
pub fn place_of(t: f64, levels: usize) -> usize {
    let last = levels - 1;
    ((t * last as f64 * (1.0 + 1e-12)) as usize).min(last)
}

#[cfg(test)]
mod tests {
    use crate::sde::{Sde, place_of};
    use crate::testing::{SUB_VP, VE, VP, chained, sdes};

    #[test]
    fn the_time_of_a_level_is_at_that_level() {
        for levels in [2, 7, 100, 1000, 1001, 4096] {
            let chain = VE.chain(levels).unwrap();
            assert!((0..levels).all(|i| place_of(chain.time(i), levels) == i), "{levels} levels");
        }
        assert_eq!([0.0, 0.3699, 0.9989, 0.999, 1.0].map(|t| place_of(t, 1001)), [0, 369, 998, 999, 1000]);
    }

    #[test]
    fn steps_lead_from_level_to_level() {
        for (name, sde) in chained() {
            let n = 1000;
            let chain = sde.chain(n).unwrap();
            let (mut alpha, mut variance) = (1.0, 0.0);
            for t in (0..n).map(|i| chain.time(i)) {
                let (f, g) = sde.discretised(t, n);
                (alpha, variance) = ((1.0 + f) * alpha, (1.0 + f).powi(2) * variance + g * g);
                assert!((alpha / chain.level(t).alpha - 1.0).abs() < 1e-10, "{name}: α at t = {t}");
                assert!((variance.sqrt() / chain.level(t).sigma - 1.0).abs() < 1e-10, "{name}: σ at t = {t}");
            }
        }
    }

    #[test]
    fn many_levels_are_the_continuous_process() {
        let n = 200_000;
        for (name, sde) in sdes() {
            for t in [0.2, 0.5, 0.9] {
                let (f, g) = sde.discretised(t, n);
                let n = n as f64;
                assert!((f * n - sde.drift(t)).abs() < 1e-3, "{name}: drift at t = {t}");
                assert!((g * n.sqrt() / sde.diffusion(t) - 1.0).abs() < 1e-3, "{name}: diffusion at t = {t}");
            }
        }
        for (name, sde) in chained() {
            let chain = sde.chain(n).unwrap();
            for t in [0.2, 0.5, 0.9] {
                assert!((chain.level(t).alpha / sde.alpha(t) - 1.0).abs() < 1e-3, "{name}: α at t = {t}");
                assert!((chain.level(t).sigma / sde.sigma(t) - 1.0).abs() < 1e-3, "{name}: σ at t = {t}");
            }
        }
    }

    #[test]
    fn chains_that_do_not_exist_are_refused() {
        let levels = |sde: &dyn Sde, levels| sde.chain(levels).unwrap_err().key;
        assert_eq!(levels(&SUB_VP, 1000), "levels");
        assert_eq!(levels(&VP, 20), "levels");
        assert_eq!(levels(&VE, 1), "levels");
        assert!(VP.chain(21).is_ok());
    }
}
