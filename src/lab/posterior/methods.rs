//! The methods that the lab knows by name.

use crate::error::{Error, Result};
use crate::guidance::{Method, Replacement};
use crate::lab::{Setting, Sweep};
use crate::measurement::Operator;
use crate::sde::Sde;

/// Methods with settings of their papers.
pub static METHODS: &[(&str, Method)] = &[
    ("dps-0.3", Method::Dps { strength: 0.3 }),
    ("dps-1", Method::Dps { strength: 1.0 }),
    ("pseudo-inverse", Method::PseudoInverse { data_std: 1.0 }),
    ("moment-matching", Method::MomentMatching { iterations: 5 }),
    ("replacement", Method::Replacement),
    ("repaint-10", Method::Repaint { visits: 10 }),
    ("particles-4", Method::Particles { count: 4, data_std: 1.0 }),
    ("particles-16", Method::Particles { count: 16, data_std: 1.0 }),
    ("particles-64", Method::Particles { count: 64, data_std: 1.0 }),
];

/// The methods of these names; `all` stands for all of them. Error: a name that is none.
pub fn methods(names: &[String]) -> Result<Vec<&'static (&'static str, Method)>> {
    if names.iter().any(|name| name == "all") {
        return Ok(METHODS.iter().collect());
    }
    let find = |name: &String| {
        METHODS.iter().find(|(known, _)| known == name).ok_or_else(|| {
            let known: Vec<&str> = METHODS.iter().map(|(name, _)| *name).collect();
            Error::Usage { message: format!("there is no method `{name}` here"), help: format!("give some of all, {}", known.join(", ")) }
        })
    };
    names.iter().map(find).collect()
}

/// A method with a solver.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Trial {
    pub name: &'static str,
    pub method: &'static Method,
    pub setting: Setting,
}

/// Every method with every setting of the sweep that can serve it and a network of so many levels, if it has such, and why the other methods
/// are left out.
pub fn trials(
    methods: &[&'static (&'static str, Method)],
    sweep: &Sweep,
    (sde, t_min, levels): (&dyn Sde, f64, Option<usize>),
    operator: &dyn Operator,
) -> (Vec<Trial>, Vec<String>) {
    let settings = sweep.settings(sde, t_min, levels);
    let (mut trials, mut left_out) = (Vec::new(), Vec::new());
    for (name, method) in methods {
        if levels.is_some() && matches!(method, Method::Dps { .. }) {
            left_out.push(format!("left out: {name}: its strength is of g², which levels of noise don't have"));
            continue;
        }
        if method.replaces().is_some() && operator.gram().is_none() {
            left_out.push(format!("left out: {name}: {}", Replacement::needs_orthogonal_rows().message));
            continue;
        }
        let fits = |setting: &&Setting| method.check_solver(&setting.spec, setting.dynamics.eta()).is_ok();
        let before = trials.len();
        trials.extend(settings.iter().filter(fits).map(|setting| Trial { name, method, setting: setting.clone() }));
        if trials.len() == before {
            left_out.push(format!("left out: {name}: none of these solvers can serve it"));
        }
    }
    (trials, left_out)
}
