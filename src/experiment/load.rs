//! From a file, or a run, to a checked experiment.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::de::Deserializer;

use super::autoencoder;
use super::layers::Override;
use super::mistakes;
use super::origins::Origins;
use super::paths;
use super::plan::Plan;
use super::text::Text;
use super::written::Experiment;
use crate::data::{Data, Split, Summary};
use crate::error::{Error, Fault, Result};
use crate::generator::vae;
use crate::guidance::Observation;
use crate::measurement::Refusal;
use crate::progress::warn;
use crate::run::{About, Run};

/// A checked experiment. No data are in memory yet.
pub struct Loaded {
    pub experiment: Experiment,
    pub plan: Plan,
    /// The shape of one example.
    pub shape: Vec<usize>,
    /// The numbers that say what is known of an example: as many as there are classes, for one; 0 without conditions.
    pub condition: usize,
    /// The autoencoder of a latent space.
    pub vae: Option<vae::Spec>,
    /// Where each key comes from.
    pub origins: Origins,
    /// The training split, where the data were looked at.
    pub train: Option<Summary>,
    /// The split that is measured, where it was looked at.
    pub measured: Option<Summary>,
}

/// Reads `path` and the files that it extends, applies overrides, and checks everything: spelling, types, values, the headers of data files, and that the network
/// fits the data.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Loaded> {
    load_into(path, overrides, None)
}

/// [`load`] for a run that may be there already, with what it has copied of others.
pub fn load_into(path: &Path, overrides: &[Override], run: Option<&Run>) -> Result<Loaded> {
    parse_into(&path.display().to_string(), &read(path)?, overrides, run)
}

/// [`load`] for a text that goes by the name `name` in messages.
pub fn parse(name: &str, text: &str, overrides: &[Override]) -> Result<Loaded> {
    parse_into(name, text, overrides, None)
}

/// The seed, 0 if there is none, and the data of a file with overrides; whatever else it holds is not looked at.
pub fn load_data(path: &Path, overrides: &[Override]) -> Result<(u64, Data)> {
    #[derive(Serialize, Deserialize)]
    struct Part {
        #[serde(default)]
        seed: u64,
        data: Data,
    }
    let text = Text::new(&path.display().to_string(), &read(path)?, overrides)?;
    let part = Part::deserialize(Deserializer::from(text.tree())).map_err(|error| text.misspelt(&error, &[]))?;
    let Part { seed, data } = paths::resolved(part, |key| text.folder_of(key));
    data.check().map_err(|fault| text.fault(fault.within("data")))?;
    Ok((seed, data))
}

fn parse_into(name: &str, text: &str, overrides: &[Override], own: Option<&Run>) -> Result<Loaded> {
    let text = Text::new(name, text, overrides)?;
    looked_at(&text, own).map_err(|error| paths::looked_for(error, |path| text.folder_naming(path)))
}

fn looked_at(text: &Text, own: Option<&Run>) -> Result<Loaded> {
    let (experiment, plan) = planned(text, |experiment| experiment.read_program(own, text))?;
    let train = plan.data.describe(Split::Train)?;
    check_measurement(text, &plan, &train.shape)?;
    if let Some(latent) = &plan.latent {
        latent.check_against(train.len).map_err(|fault| text.fault(fault.within("space.latent")))?;
    }
    for (key, train) in plan.trainings().into_iter().filter(|(_, train)| train.watches()) {
        let test = plan.data.describe(Split::Test)?;
        train.check_against(test.len).map_err(|fault| text.fault(fault.within(key)))?;
    }
    let condition = width_of_conditions(&plan)?;
    let loaded = checked(text, experiment, plan, (train.shape.clone(), condition), Some(train), own, true)?;
    loaded.try_program(text)?;
    Ok(loaded)
}

/// The experiment of a run with overrides of nothing but `tables`, for whoever repeats one phase. The run knows the shape of its data, so that
/// none are looked at but those that are `measured`.
pub fn load_run(run: &Run, overrides: &[Override], tables: &[&str], measured: bool) -> Result<Loaded> {
    for setting in overrides {
        let [flag, word] = setting.flag();
        let top = word.split(['.', '=']).next().unwrap_or_default().trim();
        if !tables.contains(&top) {
            return Err(Error::Usage {
                message: format!("{flag} {word} would change what was trained"),
                help: format!("here only these may change: {}; for anything else, begin a run with score-sde run", tables.join(", ")),
            });
        }
    }
    let about = run.about()?;
    let path = run.path().join("experiment.toml");
    let written = run.experiment()?.unwrap_or_default();
    let take = |experiment: &mut Experiment| {
        // It is of the samples that the experiment itself says.
        experiment.evaluate = experiment.evaluate.take().filter(|_| tables.contains(&"evaluate"));
        experiment.take_copy(run)
    };
    let read = Text::new(&path.display().to_string(), &written, overrides)
        .and_then(|text| planned(&text, take).map(|(experiment, plan)| (text, experiment, plan)));
    let (text, experiment, plan) =
        read.map_err(|error| if about.is_current() { error } else { about.unreadable(&path, &error.in_words()) })?;
    let About { shape, condition, .. } = about;
    let train = if shape.is_none() { Some(plan.data.describe(Split::Train)?) } else { None };
    let shape = shape.or(train.as_ref().map(|train| train.shape.clone())).unwrap_or_default();
    let condition = condition.map_or_else(|| width_of_conditions(&plan), Ok)?;
    checked(&text, experiment, plan, (shape, condition), train, Some(run), measured)
}

/// The tables that ask a run's family for samples and for a likelihood, read without a check of the rest: `--set` may have to mend that.
pub fn tables_of(run: &Run) -> Result<[&'static str; 2]> {
    let written: toml::Table = toml::from_str(&run.experiment()?.unwrap_or_default()).unwrap_or_default();
    let draws_by_itself = ["flow", "vae", "hierarchical_vae"].iter().any(|family| written.contains_key(*family));
    Ok(if draws_by_itself { ["draw", "density"] } else { ["sample", "likelihood"] })
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::Usage {
            message: format!("there is no experiment file {}", path.display()),
            help: "name a TOML file, such as experiments/quickstart.toml".into(),
        },
        _ => Error::io("read", path, e),
    })
}

/// `read` takes the files that belong to the experiment.
fn planned(text: &Text, read: impl FnOnce(&mut Experiment) -> Result<()>) -> Result<(Experiment, Plan)> {
    let mut experiment = mistakes::read(text)?;
    text.has_tables(&experiment)?;
    experiment = paths::resolved(experiment, |key| text.folder_of(key));
    read(&mut experiment)?;
    let plan = mistakes::plan(&experiment, text)?;
    Ok((experiment, plan))
}

/// The numbers that say what is known of an example, by the training split.
fn width_of_conditions(plan: &Plan) -> Result<usize> {
    Ok(match &plan.condition {
        Some(condition) => condition.width(&plan.data)?,
        None if plan.knows_classes() => plan.data.classes()?,
        None => 0,
    })
}

/// Whether what samples have to fit can be measured of these data.
fn check_measurement(text: &Text, plan: &Plan, shape: &[usize]) -> Result<()> {
    let Some(spec) = plan.sample.as_ref().and_then(|sample| sample.measurement.as_ref()) else { return Ok(()) };
    let set = match spec.observation {
        Observation::Example { split, .. } => Some(plan.data.describe(split)?),
        Observation::File(_) => None,
    };
    spec.check_against(shape, plan.seed, set.as_ref()).map_err(|refusal| match refusal {
        Refusal::Fault(fault) => text.fault(fault.within("sample.measurement")),
        Refusal::File(error) => error,
    })
}

/// `own` is the run that the experiment is of, if there is one yet.
fn checked(
    text: &Text,
    experiment: Experiment,
    plan: Plan,
    (shape, condition): (Vec<usize>, usize),
    train: Option<Summary>,
    own: Option<&Run>,
    measured: bool,
) -> Result<Loaded> {
    if let Some(evaluate) = plan.evaluate.as_ref().filter(|_| measured) {
        evaluate.check_against(&plan.data.describe(evaluate.against)?).map_err(|fault| text.fault(fault.within("evaluate")))?;
    }
    let measured = match plan.measured().filter(|_| measured) {
        None => None,
        Some(split) => match (split, &train) {
            (Split::Train, Some(train)) => Some(train.clone()),
            (split, _) => Some(plan.data.describe(split)?),
        },
    };
    let vae = plan.latent.as_ref().map(|latent| autoencoder::of(latent, &plan.data, &shape, own, text)).transpose()?;
    let origins = Origins::of(&experiment, text);
    let loaded = Loaded { experiment, plan, shape, condition, vae, origins, train, measured };
    let (plan, model_shape) = (&loaded.plan, loaded.model_shape());
    plan.check_against(&loaded.shape, &model_shape, condition, loaded.measured.as_ref()).map_err(|fault| text.fault(fault))?;
    for Fault { key, message, help } in plan.doubts(&model_shape) {
        warn(&format!("{}: {key}: {message}; {help}", text.name));
    }
    Ok(loaded)
}

impl Loaded {
    /// The shape of what a score is asked for: of one example, or of its latent variables.
    pub fn model_shape(&self) -> Vec<usize> {
        self.vae.as_ref().map_or(self.shape.clone(), |vae| vae.latent_shape(&self.shape))
    }
}

/// `runs/<stem of the experiment file>`.
pub fn default_run_folder(experiment: &Path) -> PathBuf {
    Path::new("runs").join(experiment.file_stem().unwrap_or_default())
}
