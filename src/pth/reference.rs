//! A training checkpoint of the reference implementation (Song et al. 2021), paired with a network of ours.
//!
//! ```text
//! model      module.sigmas, float64: noise levels from large to small; module.<name>: the weights, in order of registration
//! ema        decay, num_updates, shadow_params: averages of the trained weights alone, a list without names in the same order
//! optimizer  param_groups: a number for each weight, the frozen ones among them; state: Adam's exp_avg and exp_avg_sq by that number
//! step       updates so far
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor, no_grad};

use super::{Archive, Pickle, Storages, TensorRef, Value};
use crate::error::{Error, Result};
use crate::optim::Parameters;
use crate::tensor::to_vec;

/// The prefix of names in a network that was wrapped for several devices, as the reference's are.
pub const PREFIX: &str = "module.";
/// The buffer of noise levels.
pub const SIGMAS: &str = "sigmas";

/// A checkpoint of the reference, with the bytes of its tensors still in the file.
pub struct Checkpoint {
    path: PathBuf,
    pickle: Pickle,
    storages: Storages<BufReader<File>>,
    /// Updates so far.
    pub step: u64,
}

/// What [`Checkpoint::fill`] found beside the weights.
pub struct Found {
    /// Largest and smallest noise level.
    pub sigmas: (f64, f64),
    /// Trained weights for which Adam has no moments.
    pub without_moments: usize,
    /// The settings that training had, by their names in the file, as far as it holds them.
    pub settings: HashMap<&'static str, f64>,
}

impl Checkpoint {
    /// Opens the file at `path`. Errors: it can't be read, or is not a dict with the four parts.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        let Archive { pickle, storages } = Archive::open(path)?;
        let root = pickle.root();
        let missing: Vec<&str> = ["optimizer", "model", "ema", "step"].into_iter().filter(|key| root.get(key).is_none()).collect();
        if !missing.is_empty() {
            let keys: Vec<&str> = root.entries().into_iter().flatten().filter_map(|(key, _)| key.text()).take(8).collect();
            let found = if keys.is_empty() { root.describe() } else { format!("a dict of {}", keys.join(", ")) };
            let message = format!("is no training checkpoint of the reference: it has no {}; found: {found}", missing.join(", no "));
            return Err(Error::data(path, message, "give the file with the whole training state: optimizer, model, ema and step"));
        }
        let step = root.get("step").and_then(|step| u64::try_from(step.int()?).ok());
        let step = step.ok_or_else(|| {
            let found = root.get("step").map(Value::describe).unwrap_or_default();
            Error::data(path, format!("step: expected a whole number, found {found}"), "was the file written by another program?")
        })?;
        Ok(Checkpoint { path: path.to_owned(), pickle, storages, step })
    }

    /// Copies weights, averages and Adam's two moments to where they belong: `average` and `moments` are flat buffers `[P]` of the layout of
    /// `parameters`. Nothing is copied unless everything fits.
    ///
    /// Error: tensors that are missing, too many, of another shape or of another type, each by its name.
    pub fn fill(&mut self, parameters: &Parameters, average: &Tensor, moments: [&Tensor; 2]) -> Result<Found> {
        let root = self.pickle.root();
        let mut pairing = Pairing::default();
        let sigmas = pairing.model(root.get("model"), parameters);
        let mut without_moments = 0;
        // Lists without names can only be paired with a model that fits.
        if pairing.mismatches.is_empty() {
            pairing.averages(root.get("ema"), &parameters.views_of(average));
            let [first, second] = moments.map(|moment| parameters.views_of(moment).into_iter().collect());
            without_moments = pairing.moments(root.get("optimizer"), &first, &second);
        }
        let Pairing { copies, mismatches, .. } = pairing;
        let (Some(sigmas), []) = (sigmas, &mismatches[..]) else { return Err(self.mismatch(&mismatches)) };

        let read = |storages: &mut Storages<_>, tensor: &TensorRef| storages.read(tensor).map_err(|problem| problem.at(&self.path));
        let sigmas = to_vec(&read(&mut self.storages, &sigmas)?);
        for (tensor, mut target) in copies {
            let values = read(&mut self.storages, &tensor)?;
            no_grad(|| target.copy_(&values));
        }
        let sigmas = (sigmas[0], sigmas[sigmas.len() - 1]);
        Ok(Found { sigmas, without_moments, settings: settings(root) })
    }

    fn mismatch(&self, mismatches: &[String]) -> Error {
        let rest = mismatches.len().saturating_sub(8);
        let more = if rest > 0 { format!("\n  and {rest} more") } else { String::new() };
        let shown: Vec<String> = mismatches.iter().take(8).map(|mismatch| format!("  {mismatch}")).collect();
        let message = format!("does not fit the network of the experiment:\n{}{more}", shown.join("\n"));
        Error::data(&self.path, message, "make [network] what the checkpoint was trained with, or give another checkpoint")
    }
}

/// The numbers among what training was set to.
fn settings(root: Value) -> HashMap<&'static str, f64> {
    let ema = root.get("ema");
    let group = root.get("optimizer").and_then(|optimizer| optimizer.get("param_groups")?.items()?.next());
    let beta = |i| group?.get("betas")?.items()?.nth(i)?.number();
    let in_group = |key| group?.get(key).and_then(|value| value.number().or(value.bool().map(f64::from)));
    let settings = [
        ("ema.decay", ema.and_then(|ema| ema.get("decay")?.number())),
        ("ema.num_updates", ema.and_then(|ema| ema.get("num_updates")?.number())),
        ("optimizer.betas[0]", beta(0)),
        ("optimizer.betas[1]", beta(1)),
        ("optimizer.eps", in_group("eps")),
        ("optimizer.weight_decay", in_group("weight_decay")),
        ("optimizer.amsgrad", in_group("amsgrad")),
    ];
    settings.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Which tensor of the file goes where.
#[derive(Default)]
struct Pairing<'a> {
    copies: Vec<(TensorRef<'a>, Tensor)>,
    mismatches: Vec<String>,
    /// Names of the weights in the file's order, without prefix, and whether each is trained.
    order: Vec<(&'a str, bool)>,
}

impl<'a> Pairing<'a> {
    /// Weights by name; returns the noise levels.
    fn model(&mut self, model: Option<Value<'a>>, parameters: &Parameters) -> Option<TensorRef<'a>> {
        let Some(entries) = model.and_then(Value::entries) else {
            self.wrong("model", "a dict of tensors", model);
            return None;
        };
        let trained: HashMap<&str, bool> = parameters.named().map(|(name, _, trained)| (name, trained)).collect();
        let (mut found, mut strangers) = (HashMap::new(), Vec::new());
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            let name = name.strip_prefix(PREFIX).unwrap_or(name);
            if found.insert(name, value).is_some() {
                self.mismatches.push(format!("{PREFIX}{name}: is there twice"));
            }
            match trained.get(name) {
                Some(trained) => self.order.push((name, *trained)),
                None if name == SIGMAS => {}
                None => strangers.push(format!("{PREFIX}{name}: expected none, found {}", value.describe())),
            }
        }
        for (name, tensor, _) in parameters.named() {
            self.pair(&format!("{PREFIX}{name}"), found.get(name).copied(), &tensor.detach());
        }
        self.mismatches.extend(strangers);
        let sigmas = found.get(SIGMAS).copied();
        let levels = sigmas.and_then(Value::tensor).filter(|tensor| {
            let long = matches!(tensor.size(), [levels] if (1..=1 << 20).contains(levels));
            long && matches!(tensor.kind(), Kind::Double | Kind::Float)
        });
        if levels.is_none() {
            self.wrong(&format!("{PREFIX}{SIGMAS}"), "a list of noise levels, a tensor with one axis", sigmas);
        }
        levels
    }

    /// Averages by their order.
    fn averages(&mut self, ema: Option<Value<'a>>, views: &[(&str, Tensor)]) {
        let views: HashMap<&str, &Tensor> = views.iter().map(|(name, view)| (*name, view)).collect();
        let trained: Vec<&str> = self.order.iter().filter(|(_, trained)| *trained).map(|(name, _)| *name).collect();
        let shadows = ema.and_then(|ema| ema.get("shadow_params"));
        let Some(items) = shadows.and_then(Value::items).filter(|items| items.len() == trained.len()) else {
            return self.wrong("ema.shadow_params", &format!("a list of {}, one for each trained tensor", trained.len()), shadows);
        };
        for ((i, item), name) in items.enumerate().zip(trained) {
            self.pair(&format!("ema.shadow_params[{i}], the average of {PREFIX}{name}"), Some(item), views[name]);
        }
    }

    /// Adam's moments, by the number that each weight has; returns for how many trained weights there are none. Adam keeps none for a weight
    /// that never had a gradient.
    fn moments(&mut self, optimizer: Option<Value<'a>>, first: &HashMap<&str, Tensor>, second: &HashMap<&str, Tensor>) -> usize {
        let part = |key| optimizer.and_then(|optimizer| optimizer.get(key));
        let groups = part("param_groups").and_then(Value::items);
        let numbers = groups.map(|groups| groups.filter_map(|group| group.get("params")?.items()).flatten());
        let numbers: Vec<Option<i128>> = numbers.into_iter().flatten().map(Value::int).collect();
        if numbers.len() != self.order.len() {
            let (expected, found) = (self.order.len(), numbers.len());
            self.mismatches.push(format!("optimizer.param_groups: expected {expected} parameters, found {found}"));
            return 0;
        }
        let Some(state) = part("state").and_then(Value::entries) else {
            self.wrong("optimizer.state", "a dict", part("state"));
            return 0;
        };
        let state: HashMap<i128, Value> = state.filter_map(|(key, value)| Some((key.int()?, value))).collect();
        let trained: Vec<(&str, Option<i128>)> =
            self.order.iter().zip(numbers).filter(|((_, trained), _)| *trained).map(|((name, _), number)| (*name, number)).collect();
        let mut without = 0;
        for (name, number) in trained {
            let Some((number, state)) = number.and_then(|number| Some((number, *state.get(&number)?))) else {
                without += 1;
                continue;
            };
            for (key, views) in [("exp_avg", first), ("exp_avg_sq", second)] {
                self.pair(&format!("optimizer.state[{number}].{key}, of {PREFIX}{name}"), state.get(key), &views[name]);
            }
        }
        without
    }

    fn pair(&mut self, name: &str, found: Option<Value<'a>>, target: &Tensor) {
        let expected = target.size();
        match found.and_then(Value::tensor) {
            // These fit into f32 without loss.
            Some(tensor) if tensor.size() == expected && matches!(tensor.kind(), Kind::Float | Kind::Half | Kind::BFloat16) => {
                self.copies.push((tensor, target.shallow_clone()))
            }
            Some(tensor) if tensor.size() == expected => {
                self.mismatches.push(format!("{name}: expected numbers of type Float, found {:?}", tensor.kind()))
            }
            _ => self.wrong(name, &format!("a tensor {expected:?}"), found),
        }
    }

    fn wrong(&mut self, name: &str, expected: &str, found: Option<Value>) {
        let found = found.map_or("none".into(), Value::describe);
        self.mismatches.push(format!("{name}: expected {expected}, found {found}"));
    }
}
