//! Words that are none of an experiment's, and what was probably meant.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::schema;

/// What others call keys and choices, and how they are called here.
const SYNONYMS: [(&str, &str); 33] = [
    ("learning_rate", "train.lr"),
    ("weight-decay", "train.weight_decay"),
    ("batch_size", "batch, of [train], [sample] or [likelihood]"),
    ("epochs", "counted in batches: train.steps is epochs times examples / batch"),
    ("num_steps", "steps, of [train], or of a solver's grid"),
    ("n_steps", "steps, of [train], or of a solver's grid"),
    ("nfe", "the steps of a solver's grid: sample.solver.heun.grid.uniform.steps"),
    ("warmup_steps", "train.warmup"),
    ("grad_clip", "train.clip"),
    ("gradient_clip", "train.clip"),
    ("ema_decay", "train.ema"),
    ("ema_rate", "train.ema"),
    ("num_samples", "sample.count"),
    ("n_samples", "sample.count"),
    ("eps_t", "t_min"),
    ("sampling_eps", "sample.t_min"),
    ("optimizer", "no choice: lr, betas, eps and weight_decay of [train] are Adam's"),
    ("hidden", "network.mlp.width"),
    ("layers", "depth, of [network.mlp] or [classifier]"),
    ("model", "network"),
    ("dataset", "data"),
    ("sampler", "sample.solver"),
    ("sampling", "sample"),
    ("training", "train"),
    ("loss", "train.objective, and train.weighting"),
    ("ode", "dynamics = \"probability-flow\""),
    ("sde", "dynamics = \"reverse-sde\""),
    ("ddpm", "solver.discrete-chain, with [precondition.discrete]"),
    ("ddim", "solver.discrete-chain with eta = 0, or, in continuous time, dynamics = \"probability-flow\" and solver.dpm-solver-pp"),
    ("npy", "npy-vectors or npy-images"),
    ("mnist", "idx"),
    ("png", "images"),
    ("unet", "ncsnpp or ddpm"),
];

/// The cure of a word in a table, a key or another choice, where these are known; none where nothing is like it.
pub(super) fn cure(wrong: &str, table: &str, choices: &[&str], is_key: bool) -> Option<String> {
    let plain = |word: &str| word.to_lowercase().replace('_', "-");
    let same = |word: &&&str| plain(word) == plain(wrong);
    if let Some(choice) = choices.iter().find(same) {
        return Some(format!("did you mean `{choice}`?"));
    }
    if let Some((_, meant)) = SYNONYMS.iter().find(|(word, _)| plain(word) == plain(wrong)) {
        let first = meant.split(',').next().unwrap_or(meant);
        let own = first.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')).unwrap_or(first);
        let own = Some(own).filter(|key| choices.contains(key));
        return Some(own.map_or_else(|| format!("here that is {meant}"), |key| format!("did you mean `{key}`?")));
    }
    let near = choices.iter().map(|choice| (strsim::damerau_levenshtein(wrong, choice), *choice)).min();
    let near = near.filter(|(distance, _)| *distance <= 1 + wrong.len() / 3);
    let elsewhere = if is_key { tables_with(wrong) } else { Vec::new() };
    match (near, &elsewhere[..]) {
        (Some((0..=1, choice)), _) | (Some((_, choice)), []) => Some(format!("did you mean `{choice}`?")),
        (_, []) => None,
        (_, tables) => Some(format!("`{wrong}` is a key of {}", tables.join(", "))),
    }
}

/// The one of some choices that was meant, where there is no doubt.
pub(super) fn meant<'a>(wrong: &str, table: &str, choices: &[&'a str]) -> Option<&'a str> {
    let cure = cure(wrong, table, choices, true)?;
    choices.iter().find(|choice| cure == format!("did you mean `{choice}`?")).copied()
}

/// The shallowest tables that have a key of this name, at most three.
fn tables_with(key: &str) -> Vec<String> {
    let schema = schema();
    let mut found = BTreeSet::new();
    search(&schema, &schema, key, &mut Vec::new(), &mut found);
    found.into_iter().take(3).map(|(_, table)| format!("[{table}]")).collect()
}

/// Adds the paths below `place` whose tables have the key, with their depth.
fn search<'a>(schema: &'a Value, here: &'a Value, key: &str, place: &mut Vec<&'a str>, found: &mut BTreeSet<(usize, String)>) {
    const DEEPEST: usize = 4;
    let resolved = here["$ref"].as_str().and_then(|name| schema["$defs"].get(name.rsplit('/').next()?)).unwrap_or(here);
    for part in ["anyOf", "oneOf", "allOf"] {
        resolved[part].as_array().into_iter().flatten().for_each(|part| search(schema, part, key, place, found));
    }
    for (name, value) in resolved["properties"].as_object().into_iter().flatten() {
        if name == key && !place.is_empty() {
            found.insert((place.len(), place.join(".")));
        }
        if place.len() < DEEPEST {
            place.push(name);
            search(schema, value, key, place, found);
            place.pop();
        }
    }
}
