//! Features of a set of examples.

use rand::seq::SliceRandom;
use tch::{Device, Kind, Tensor};

use super::estimate::GROUPS;
use crate::error::{Error, Result};
use crate::rng::{Purpose, generator};
use crate::tensor::{indices, to_vec};

/// Examples that ten groups of two each need.
const FEWEST: i64 = 2 * GROUPS as i64;
/// Numbers of a matrix between two sets that are held at once.
const BLOCK: i64 = 1 << 21;

/// A matrix of features [N, D], one row for each example: finite, not all rows alike, N at least 20. Its examples are parted at random into ten
/// groups, which intervals come from, so that no order of theirs matters. Sets of equal size are parted alike: where example i of one goes
/// with example i of another (samples from the same start), the intervals know of it.
pub struct Features {
    name: String,
    rows: Tensor,
    /// The places of each group's examples.
    groups: Vec<Tensor>,
}

impl Features {
    /// Of x [N, ...]; `name` is what errors call the set.
    pub fn new(name: &str, x: &Tensor, seed: u64) -> Result<Features> {
        let wrong = |message: String, help: &str| Err(Error::Usage { message: format!("{name}: {message}"), help: help.into() });
        let n = x.size().first().copied().unwrap_or(0);
        if n < FEWEST {
            return wrong(format!("there are {n} examples"), &format!("give {FEWEST} or more: intervals come from ten groups of them"));
        }
        if x.numel() == 0 {
            return wrong("an example has no features".into(), "give one number or more for each example");
        }
        let rows = x.detach().view([n, -1]);
        // Some at once: what is asked of all takes as much memory again.
        let parts = blocks(&rows, rows.size()[1]);
        let finite = Tensor::cat(&parts.iter().map(|part| part.isfinite().all_dim(1, false)).collect::<Vec<_>>(), 0).to_kind(Kind::Double);
        if let Some(i) = to_vec(&finite).iter().position(|&finite| finite == 0.0) {
            return wrong(format!("example {i} has a feature that is not a finite number"), "look at what made this example");
        }
        let first = rows.narrow(0, 0, 1);
        if parts.iter().all(|part| part.eq_tensor(&first).all().int64_value(&[]) == 1) {
            return wrong("all examples have the same features".into(), "features that tell examples apart are needed");
        }
        let mut order: Vec<usize> = (0..n as usize).collect();
        order.shuffle(&mut generator(seed, Purpose::Groups, 0));
        let group = |g: usize| indices(&order[g * order.len() / GROUPS..(g + 1) * order.len() / GROUPS], rows.device());
        Ok(Features { name: name.into(), groups: (0..GROUPS).map(group).collect(), rows })
    }

    /// What errors call the set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// N.
    pub fn count(&self) -> i64 {
        self.rows.size()[0]
    }

    /// D.
    pub fn width(&self) -> i64 {
        self.rows.size()[1]
    }

    /// Refuses sets whose examples have other numbers of features.
    pub(super) fn beside(&self, other: &Features) -> Result<()> {
        same_width([&self.name, &other.name], [self.width(), other.width()])
    }

    pub(super) fn device(&self) -> Device {
        self.rows.device()
    }

    /// [N, D], in the order and the kind they were given in.
    pub(super) fn rows(&self) -> &Tensor {
        &self.rows
    }

    /// The rows of a group, f64.
    pub(super) fn group(&self, g: usize) -> Tensor {
        self.given_group(g).to_kind(Kind::Double)
    }

    /// The rows of a group, in the kind they were given in.
    pub(super) fn given_group(&self, g: usize) -> Tensor {
        self.rows.index_select(0, &self.groups[g])
    }

    /// How many examples are in a group.
    pub(super) fn group_count(&self, g: usize) -> i64 {
        self.groups[g].size()[0]
    }
}

/// Refuses features of two kinds.
pub(super) fn same_width([x, y]: [&str; 2], [of_x, of_y]: [i64; 2]) -> Result<()> {
    if of_x == of_y {
        return Ok(());
    }
    let message = format!("{x} has {of_x} features for each example, and {y} has {of_y}");
    Err(Error::Usage { message, help: "compare sets by the same features".into() })
}

/// Rows [N, D] in parts such that a matrix of a part's rows and of `columns` stays small.
pub(super) fn blocks(rows: &Tensor, columns: i64) -> Vec<Tensor> {
    rows.split((BLOCK / columns.max(1)).max(1), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::normal;

    #[test]
    fn sets_that_cannot_be_compared_are_refused() {
        let refused = |x: &Tensor, word: &str| {
            let error = Features::new("a.npy", x, 1).err().expect("an error").to_string();
            assert!(error.starts_with("a.npy: ") && error.contains(word), "{error}");
        };
        refused(&normal(1, 19, 2), "19 examples");
        refused(&Tensor::zeros([30, 0], (Kind::Float, Device::Cpu)), "no features");
        refused(&Tensor::ones([30, 2], (Kind::Float, Device::Cpu)), "same features");
        for bad in [f64::NAN, f64::INFINITY] {
            let x = normal(1, 30, 2);
            let _ = x.get(7).get(1).fill_(bad);
            refused(&x, "example 7");
        }
        let [x, y] = [2, 3].map(|d| Features::new("a", &normal(1, 30, d), 1).unwrap());
        assert_eq!(x.beside(&y).unwrap_err().to_string(), "a has 2 features for each example, and a has 3");
    }

    #[test]
    fn the_groups_part_the_examples() {
        let x = Tensor::arange(47, (Kind::Double, Device::Cpu));
        let features = Features::new("a", &x, 1).unwrap();
        let groups: Vec<Tensor> = (0..GROUPS).map(|g| features.group(g)).collect();
        let mut all = to_vec(&Tensor::cat(&groups, 0));
        assert_ne!(all, to_vec(&x));
        all.sort_by(f64::total_cmp);
        assert_eq!(all, to_vec(&x));
        assert!((0..GROUPS).all(|g| [4, 5].contains(&features.group_count(g))));
    }
}
