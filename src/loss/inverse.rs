//! The inverse of a distribution function that is known by a density alone.

/// ∫ weight dt in the variable y = ln t, in which what is steep near t = 0 is smooth, over panels that a quadrature rule resolves.
pub(super) struct Inverse<'a> {
    weight: Box<dyn Fn(f64) -> f64 + Send + Sync + 'a>,
    /// Ends of the panels, ascending from the logarithm of the first time to that of the last.
    ends: Vec<f64>,
    /// The integral up to each end.
    masses: Vec<f64>,
}

/// Panels before any is halved, and how often one may be.
const PANELS: usize = 128;
const HALVINGS: usize = 40;
/// Largest change of a panel's integral on halving it, relative to the whole.
const TOLERANCE: f64 = 1e-14;

impl<'a> Inverse<'a> {
    /// Over the times from `first` to `last`.
    pub fn new(weight: Box<dyn Fn(f64) -> f64 + Send + Sync + 'a>, [first, last]: [f64; 2]) -> Inverse<'a> {
        let mut inverse = Inverse { weight, ends: vec![first.ln()], masses: vec![0.0] };
        let end = |i: usize| first.ln() + (last.ln() - first.ln()) * (i as f64 / PANELS as f64);
        let panels: Vec<[f64; 3]> = (0..PANELS).map(|i| [end(i), end(i + 1), inverse.integral(end(i), end(i + 1))]).collect();
        let whole = panels.iter().map(|panel| panel[2]).sum();
        panels.into_iter().for_each(|panel| inverse.add(panel, whole, HALVINGS));
        inverse
    }

    /// Adds a panel [from, to, integral] or, where it is not resolved, its halves.
    fn add(&mut self, [a, b, mass]: [f64; 3], whole: f64, halvings: usize) {
        let middle = 0.5 * (a + b);
        let halves = [[a, middle, self.integral(a, middle)], [middle, b, self.integral(middle, b)]];
        let sum = halves[0][2] + halves[1][2];
        if halvings == 0 || !sum.is_finite() || (sum - mass).abs() <= TOLERANCE * whole.max(sum) {
            self.ends.push(b);
            self.masses.push(self.normaliser() + sum);
        } else {
            halves.into_iter().for_each(|half| self.add(half, whole, halvings - 1));
        }
    }

    /// ∫ weight dt over all times.
    pub fn normaliser(&self) -> f64 {
        self.masses[self.masses.len() - 1]
    }

    pub fn weight(&self, t: f64) -> f64 {
        (self.weight)(t)
    }

    /// dt / dy weight.
    fn slope(&self, y: f64) -> f64 {
        let t = y.exp();
        t * (self.weight)(t)
    }

    /// Gauss and Legendre's rule of five points on [a, b].
    fn integral(&self, a: f64, b: f64) -> f64 {
        let (middle, half) = (0.5 * (a + b), 0.5 * (b - a));
        let pair = |node: f64, weight: f64| weight * (self.slope(middle - half * node) + self.slope(middle + half * node));
        let outer = pair(0.906_179_845_938_664, 0.236_926_885_056_189_08);
        let inner = pair(0.538_469_310_105_683_1, 0.478_628_670_499_366_47);
        half * (outer + inner + 128.0 / 225.0 * self.slope(middle))
    }

    /// ∫ weight dt from the first time to t.
    pub fn mass_below(&self, t: f64) -> f64 {
        let y = t.ln();
        let panel = self.ends.partition_point(|end| *end <= y).clamp(1, self.ends.len() - 1) - 1;
        self.masses[panel] + self.integral(self.ends[panel], y)
    }

    /// The t below which the part u of the integral lies: Newton's method between the ends of its panel, halving where it would leave them.
    pub fn time(&self, u: f64) -> f64 {
        let mass = u * self.normaliser();
        let panel = self.masses.partition_point(|below| *below <= mass).clamp(1, self.masses.len() - 1) - 1;
        let [start, end] = [self.ends[panel], self.ends[panel + 1]];
        let (wanted, all) = (mass - self.masses[panel], self.masses[panel + 1] - self.masses[panel]);
        let (mut low, mut high) = (start, end);
        let mut y = start + (end - start) * (wanted / all).min(1.0);
        for _ in 0..100 {
            let excess = self.integral(start, y) - wanted;
            (low, high) = if excess > 0.0 { (low, y) } else { (y, high) };
            let newton = y - excess / self.slope(y);
            let next = if low <= newton && newton <= high { newton } else { 0.5 * (low + high) };
            let moved = (next - y).abs();
            y = next;
            if moved <= 1e-15 * (1.0 + y.abs()) {
                break;
            }
        }
        y.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_with_a_jump_and_one_that_vanishes_in_places_have_inverses() {
        let jump = Inverse::new(Box::new(|t| if t < 0.3 { 1.0 } else { 4.0 }), [1e-2, 1.0]);
        assert!((jump.normaliser() - (0.29 + 2.8)).abs() < 1e-11, "{}", jump.normaliser());
        assert!((jump.time(0.29 / 3.09) - 0.3).abs() < 1e-9);
        let island = Inverse::new(Box::new(|t: f64| if (0.2..0.6).contains(&t) { 1.0 } else { 0.0 }), [1e-3, 1.0]);
        for u in [0.0, 1e-9, 0.25, 0.5, 1.0 - 1e-9, 1.0] {
            let t = island.time(u);
            assert!(u == 1.0 || (t - (0.2 + 0.4 * u)).abs() < 1e-9, "{t} at u = {u}");
        }
    }
}
