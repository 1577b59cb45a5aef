//! Order conditions of the Runge-Kutta methods, of their error estimates and of their interpolants, by rooted trees (Butcher 1963; Hairer,
//! Nørsett & Wanner 1993, sec. II.2): a method with weights w is of order p if Σ_i w_i g_i(τ) = θ^|τ| / γ(τ) for every tree τ of up to p
//! nodes, at the share θ of its step.

use super::*;
use crate::solver::dop853::DOP853;
use crate::solver::tableau::{EULER, HEUN, MIDPOINT, RK4, RK23, RK45, TSIT5};

/// A rooted tree by its subtrees, which are earlier trees of the same list.
struct Tree {
    nodes: usize,
    /// γ.
    density: f64,
    subtrees: Vec<usize>,
}

/// All rooted trees of up to `most` nodes, by their size.
fn trees(most: usize) -> Vec<Tree> {
    /// Adds to `found` every way to make up `left` nodes of trees from `first` on.
    fn fill(trees: &[Tree], first: usize, left: usize, chosen: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
        if left == 0 {
            found.push(chosen.clone());
            return;
        }
        for i in (first..trees.len()).filter(|&i| trees[i].nodes <= left) {
            chosen.push(i);
            fill(trees, i, left - trees[i].nodes, chosen, found);
            chosen.pop();
        }
    }
    let mut trees: Vec<Tree> = Vec::new();
    for nodes in 1..=most {
        let mut found = Vec::new();
        fill(&trees, 0, nodes - 1, &mut Vec::new(), &mut found);
        let density = |subtrees: &[usize]| nodes as f64 * subtrees.iter().map(|&i| trees[i].density).product::<f64>();
        let more: Vec<Tree> = found.into_iter().map(|subtrees| Tree { nodes, density: density(&subtrees), subtrees }).collect();
        trees.extend(more);
    }
    trees
}

/// A tableau's rows of a with the slope at the new point and the interpolant's own stages.
fn rows(tableau: &Tableau) -> Vec<&'static [f64]> {
    tableau.a.iter().copied().chain([tableau.b]).chain(tableau.extra.iter().copied()).collect()
}

/// The order of some weights at θ: the conditions of all trees of up to so many nodes hold, and one of the next size does not.
fn order(tableau: &Tableau, weights: &[f64], theta: f64) -> usize {
    const MOST: usize = 9;
    let rows = rows(tableau);
    let trees = trees(MOST);
    let mut g: Vec<Vec<f64>> = Vec::new();
    let mut least = MOST;
    for tree in &trees {
        let below = |i: usize, row: &[f64]| row.iter().zip(&g[i]).map(|(a, g)| a * g).sum::<f64>();
        let of_tree: Vec<f64> = rows.iter().map(|row| tree.subtrees.iter().map(|&i| below(i, row)).product()).collect();
        let sum: f64 = weights.iter().zip(&of_tree).map(|(w, g)| w * g).sum();
        if (sum - theta.powi(tree.nodes as i32) / tree.density).abs() > 1e-12 {
            least = least.min(tree.nodes - 1);
        }
        g.push(of_tree);
    }
    least
}

#[test]
fn there_are_as_many_trees_as_there_should_be() {
    let trees = trees(8);
    let of_size = |n| trees.iter().filter(|tree| tree.nodes == n).count();
    assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(of_size), [1, 1, 2, 4, 9, 20, 48, 115]);
}

#[test]
fn methods_meet_the_conditions_of_their_order() {
    for (name, tableau, truth) in [
        ("euler", &EULER, 1),
        ("midpoint", &MIDPOINT, 2),
        ("heun", &HEUN, 2),
        ("rk4", &RK4, 4),
        ("rk23", &RK23, 3),
        ("rk45", &RK45, 5),
        ("tsit5", &TSIT5, 5),
        ("dop853", &DOP853, 8),
    ] {
        assert_eq!(order(tableau, tableau.b, 1.0), truth, "{name}");
        for (row, c) in tableau.a.iter().zip(tableau.c).chain(tableau.extra.iter().zip(tableau.extra_c)) {
            assert!((row.iter().sum::<f64>() - c).abs() < 1e-14, "{name}: a stage is at {c}, and its row adds up to another time");
        }
    }
}

#[test]
fn error_estimates_are_differences_from_methods_of_their_order() {
    for (name, tableau, error, truth) in [
        ("rk23", &RK23, RK23.error, 2),
        ("rk45", &RK45, RK45.error, 4),
        ("tsit5", &TSIT5, TSIT5.error, 4),
        ("dop853", &DOP853, DOP853.error, 5),
        ("dop853, low", &DOP853, DOP853.error_low, 3),
    ] {
        assert_eq!(error.len(), tableau.b.len() + 1, "{name}");
        let embedded: Vec<f64> = error.iter().enumerate().map(|(i, e)| tableau.b.get(i).unwrap_or(&0.0) - e).collect();
        assert_eq!(order(tableau, &embedded, 1.0), truth, "{name}");
    }
    // The step control's exponent: the joint estimate of DOP853 is of the order of neither.
    assert_eq!([RK23, RK45, TSIT5, DOP853].map(|tableau| tableau.order), [2, 4, 4, 7]);
}

#[test]
fn interpolants_meet_the_conditions_of_their_order_on_the_whole_step() {
    // Cubic Hermite's, Shampine's, Tsitouras' own, and DOP853's with three stages more.
    for (name, tableau, truth) in [("rk23", &RK23, 3), ("rk45", &RK45, 4), ("tsit5", &TSIT5, 4), ("dop853", &DOP853, 7)] {
        for theta in [0.1, 0.37, 0.5, 0.9] {
            assert_eq!(order(tableau, &tableau.interpolate(theta), theta), truth, "{name} at {theta}");
        }
    }
}
