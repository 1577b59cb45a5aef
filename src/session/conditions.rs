//! What a session's model is told of examples and of samples.

use std::ops::Range;
use std::sync::Arc;

use tch::Tensor;

use super::Session;
use crate::data::{Class, ConditionSpec, Conditions, Split, read_npy};
use crate::error::{Error, Fault, Result};
use crate::sample::{GivenSpec, Known, Sample};

impl Session {
    /// What is known of the examples of a split; none of a model without conditions.
    pub fn conditions(&self, split: Split) -> Result<Option<Arc<Conditions>>> {
        match &self.plan.condition {
            Some(spec) => self.conditions_by(spec, split).map(Some),
            None => Ok(None),
        }
    }

    /// The classes of the examples of a split, whatever the model is told.
    pub fn classes(&self, split: Split) -> Result<Arc<Conditions>> {
        self.conditions_by(&ConditionSpec::Class(Class { dropout: None }), split)
    }

    fn conditions_by(&self, spec: &ConditionSpec, split: Split) -> Result<Arc<Conditions>> {
        let cell = &self.conditions[split as usize];
        if let Some(conditions) = cell.get() {
            return Ok(conditions.clone());
        }
        let len = self.dataset(split)?.len();
        let conditions = Arc::new(spec.open(&self.plan.data, split, self.plan.seed, len, self.condition)?);
        Ok(cell.get_or_init(|| conditions).clone())
    }

    /// What samples are given, if anything.
    pub fn known(&self, sample: &Sample) -> Result<Option<Known>> {
        let Some(given) = &sample.given else { return Ok(None) };
        let (classes, spec) = (self.condition, &self.plan.condition);
        Ok(Some(match given {
            GivenSpec::EachClass => Known::Classes { wanted: (0..classes).collect(), classes },
            GivenSpec::Classes(wanted) => Known::Classes { wanted: wanted.clone(), classes },
            GivenSpec::Example { split, index } => self.known_of(*split, ("example.index", *index..*index + 1))?,
            GivenSpec::Examples { split, count } => self.known_of(*split, ("examples.count", 0..*count))?,
            GivenSpec::File(path) => {
                let (shape, values) = read_npy(path)?;
                if values.len() + 1 != self.condition || values.iter().any(|value| !value.is_finite()) {
                    let message = format!("has shape {shape:?}, and {} finite numbers are wanted", self.condition - 1);
                    return Err(Error::data(path, message, "give what is known, as in a row of the files of [condition.vector]"));
                }
                let told = spec.as_ref().map_or(Vec::new(), |spec| spec.row_of(&values));
                Known::Rows(Tensor::from_slice(&told).unsqueeze(0))
            }
        }))
    }

    /// The one thing that samples are given, if anything. Error: they are given several.
    pub(super) fn one_known(&self, spec: &Sample) -> Result<Option<Known>> {
        let known = self.known(spec)?;
        if known.as_ref().is_some_and(|known| known.alternatives() > 1) {
            let help = "give --set 'sample.given={classes=[3]}', or --set 'sample.given={example={split=\"test\",index=0}}'";
            let message = "what belongs together is given one thing, and sample.given names several".into();
            return Err(Error::Usage { message, help: help.into() });
        }
        Ok(known)
    }

    /// What is known of some examples, which `key` asks for.
    fn known_of(&self, split: Split, (key, examples): (&str, Range<usize>)) -> Result<Known> {
        let len = self.dataset(split)?.len();
        if examples.end > len {
            let message = format!("there is no example {}: the split has {len}, counted from 0", examples.end - 1);
            let most = if examples.len() > 1 { len } else { len - 1 };
            return Err(Fault::new(format!("sample.given.{key}"), message, format!("give a number up to {most}")).into());
        }
        let conditions = self.conditions(split)?.map_or_else(|| self.classes(split), Ok)?;
        let classes: Option<Vec<usize>> = examples.clone().map(|example| conditions.class(example)).collect();
        Ok(match classes {
            Some(wanted) => Known::Classes { wanted, classes: self.condition },
            None => Known::Rows(conditions.of(&examples.collect::<Vec<_>>())),
        })
    }
}
