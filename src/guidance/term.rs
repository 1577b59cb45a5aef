//! A term added to a model's score.

use std::cell::Cell;

use tch::{Tensor, no_grad};

use crate::divergence::Linearised;
use crate::model::{At, Model, Prediction, Quantity};

/// What is said of x, with `term` [B, ...] added to its score.
pub(super) fn add(model: &dyn Model, mut said: Prediction, at: &At, term: Tensor) -> Prediction {
    let interpolation = said.interpolation.take();
    let score = said.into_quantity(Quantity::Score, model.sde(), &|t| model.level(t), at) + term;
    Prediction { interpolation, ..Prediction::of_score(score) }
}

/// What the model says of x, with a term of x̂ and of products with its Jacobian added to its score: one forward pass.
pub(super) fn of_denoised(model: &dyn Model, at: &At, term: impl FnOnce(&Linearised) -> Tensor) -> Prediction {
    let interpolation = Cell::new(None);
    let data = |x: &Tensor| {
        let at = at.moved(x);
        let mut said = model.predict(&at);
        interpolation.set(said.interpolation.take().map(|v| v.detach()));
        said.into_quantity(Quantity::Data, model.sde(), &|t| model.level(t), &at)
    };
    let point = Linearised::at(data, at.x);
    no_grad(|| {
        let denoised = Prediction { interpolation: interpolation.take(), ..Prediction::of(Quantity::Data, point.y.detach()) };
        add(model, denoised, at, term(&point))
    })
}
