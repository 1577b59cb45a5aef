//! What a session's model is told of examples and of samples.

use std::sync::Arc;

use super::Session;
use crate::data::{Class, ConditionSpec, Conditions, Split, read_npy};
use crate::error::{Error, Fault, Result};
use crate::sample::{GivenSpec, Known, Sample};
use crate::tensor::to_vec;

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
            GivenSpec::Example { split, index } => self.known_of(*split, *index)?,
            GivenSpec::File(path) => {
                let (shape, values) = read_npy(path)?;
                if values.len() + 1 != self.condition || values.iter().any(|value| !value.is_finite()) {
                    let message = format!("has shape {shape:?}, and {} finite numbers are wanted", self.condition - 1);
                    return Err(Error::data(path, message, "give what is known, as in a row of the files of [condition.vector]"));
                }
                Known::One(spec.as_ref().map_or(Vec::new(), |spec| spec.row_of(&values)))
            }
        }))
    }

    /// What is known of one example.
    fn known_of(&self, split: Split, index: usize) -> Result<Known> {
        let len = self.dataset(split)?.len();
        if index >= len {
            let message = format!("there is no example {index}: the split has {len}, counted from 0");
            return Err(Fault::new("sample.given.example.index", message, format!("give a number up to {}", len - 1)).into());
        }
        let conditions = self.conditions(split)?.map_or_else(|| self.classes(split), Ok)?;
        Ok(match conditions.class(index) {
            Some(class) => Known::Classes { wanted: vec![class], classes: self.condition },
            None => Known::One(to_vec(&conditions.of(&[index])).into_iter().map(|value| value as f32).collect()),
        })
    }
}
