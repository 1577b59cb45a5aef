//! Two tensors that should be one: errors and what is allowed.

use tch::{Kind, Tensor};

use super::golden::Tensors;
use crate::tensor::to_vec;

/// Allowed in f64, relative.
const F64: f64 = 1e-9;
/// Allowed in f64 where the truth was stored in f32.
pub const STORED_IN_F32: f64 = 1e-6;
/// Allowed in f32, relative to the f64 truth.
pub const F32: f64 = 1e-5;
/// Or so many times what the reference's own f32 is off.
pub const OWN: f64 = 3.0;
/// An f64 rounding error as a share of the f32 rounding error at the same place: differences that cancel in f32 cancel in f64 too.
const F64_ROUNDING: f64 = f64::EPSILON / f32::EPSILON as f64;

/// Some random networks multiply a difference by ten with every few steps, until the step control takes other steps altogether. A second
/// solve from a start that differs by this share tells how far off rounding alone can take an end.
pub fn nudge(kind: Kind) -> f64 {
    if kind == Kind::Double { 1e-13 } else { f64::from(f32::EPSILON) }
}

/// One quantity in one precision.
pub struct Check {
    pub quantity: String,
    /// Kind::Double or Kind::Float.
    pub precision: Kind,
    /// The largest absolute error.
    pub absolute: f64,
    /// The relative error that is largest beside its tolerance, with that.
    pub relative: f64,
    pub tolerance: f64,
}

impl Check {
    /// Never true for an error that is not a number.
    pub fn ok(&self) -> bool {
        self.relative <= self.tolerance
    }
}

/// What an error is relative to.
#[derive(Clone, Copy)]
pub enum Per {
    /// The largest number in the same entry of the first axis: an example, a time, a step.
    Entry,
    /// The largest number of the tensor, or this one where all are smaller and stand for 0.
    Tensor { zero: f64 },
}

/// All comparisons of one case.
#[derive(Default)]
pub struct Report {
    checks: Vec<Check>,
    not_covered: Vec<String>,
}

impl Report {
    /// At least one quantity was compared, and all are as near as they should be.
    pub fn ok(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(Check::ok)
    }

    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Results of the case that nothing here computes.
    pub fn not_covered(&self) -> &[String] {
        &self.not_covered
    }

    /// The check nearest to failing, or furthest beyond.
    pub fn worst(&self, precision: Kind) -> Option<&Check> {
        let of_precision = self.checks.iter().filter(|check| check.precision == precision);
        of_precision.max_by(|a, b| share(a.relative, a.tolerance).total_cmp(&share(b.relative, b.tolerance)))
    }

    /// The largest absolute error.
    pub fn absolute(&self, precision: Kind) -> f64 {
        largest(self.checks.iter().filter(|check| check.precision == precision).map(|check| check.absolute))
    }

    /// Compares with `f64.<quantity>`, if the case has it; where there is `f32.<quantity>`, the tolerance may come from that.
    pub fn golden(&mut self, precision: Kind, quantity: &str, ours: &Tensor, per: Per, tensors: &Tensors) {
        let allowed = if precision == Kind::Double { (F64, OWN * F64_ROUNDING) } else { (F32, OWN) };
        self.compare(precision, quantity, ours, per, tensors, allowed);
    }

    /// Compares with `f64.<quantity>`, if the case has it.
    pub fn golden_within(&mut self, precision: Kind, quantity: &str, ours: &Tensor, per: Per, tensors: &Tensors, tolerance: f64) {
        self.compare(precision, quantity, ours, per, tensors, (tolerance, 0.0));
    }

    /// Compares with `f64.<quantity>`, if the case has it. The tolerance is the larger of `least` and `own_share` times what `f32.<quantity>`
    /// is off.
    pub fn compare(&mut self, precision: Kind, quantity: &str, ours: &Tensor, per: Per, tensors: &Tensors, (least, own_share): (f64, f64)) {
        let Some(truth) = tensors.find(&format!("f64.{quantity}")) else { return };
        let errors = Errors::new(ours, truth, per);
        let own = tensors.find(&format!("f32.{quantity}")).map_or(vec![0.0], |own| Errors::new(own, truth, per).relative);
        let tolerance = |own: &f64| if own.is_finite() { least.max(own_share * own) } else { least };
        let tolerances: Vec<f64> = own.iter().cycle().map(tolerance).take(errors.relative.len()).collect();
        self.add(precision, quantity, errors, &tolerances);
    }

    /// Compares with `truth`.
    pub fn within(&mut self, precision: Kind, quantity: &str, ours: &Tensor, truth: &Tensor, per: Per, tolerance: f64) {
        let errors = Errors::new(ours, truth, per);
        let tolerances = vec![tolerance; errors.relative.len()];
        self.add(precision, quantity, errors, &tolerances);
    }

    /// Compares with `truth`, by absolute errors.
    pub fn apart(&mut self, precision: Kind, quantity: &str, ours: &Tensor, truth: &Tensor, tolerance: f64) {
        let absolute = Errors::new(ours, truth, Per::Entry).absolute;
        self.checks.push(Check { quantity: quantity.to_owned(), precision, absolute, relative: absolute, tolerance });
    }

    /// Compares an f32 result with the reference's where no f64 truth was recorded: our f64 tells how far off that is, but it can't excuse
    /// more than `most`.
    pub fn recorded_in_f32(&mut self, quantity: &str, ours: &Tensor, ours_in_f64: &Tensor, recorded: &Tensor, most: f64) {
        let per = Per::Tensor { zero: 0.0 };
        let own = Errors::new(recorded, ours_in_f64, per).relative[0];
        self.within(Kind::Float, quantity, ours, recorded, per, (OWN * own).max(F32).min(most));
    }

    /// Adds another's comparisons.
    pub fn append(&mut self, mut other: Report) {
        self.checks.append(&mut other.checks);
        self.not_covered.append(&mut other.not_covered);
    }

    pub fn skip(&mut self, name: impl Into<String>) {
        self.not_covered.push(name.into());
    }

    fn add(&mut self, precision: Kind, quantity: &str, errors: Errors, tolerances: &[f64]) {
        let pairs = errors.relative.iter().zip(tolerances);
        let (relative, tolerance) = pairs.max_by(|a, b| share(*a.0, *a.1).total_cmp(&share(*b.0, *b.1))).expect("a tensor has entries");
        let quantity = quantity.to_owned();
        self.checks.push(Check { quantity, precision, absolute: errors.absolute, relative: *relative, tolerance: *tolerance });
    }
}

/// relative / tolerance, above everything where it is not a number.
fn share(relative: f64, tolerance: f64) -> f64 {
    let share = relative / tolerance;
    if share.is_nan() { f64::INFINITY } else { share }
}

/// The largest of numbers of at least 0; not a number if one of them is not.
fn largest(numbers: impl IntoIterator<Item = f64>) -> f64 {
    numbers.into_iter().fold(0.0, |a, b| if a >= b { a } else { b })
}

/// The largest absolute error.
pub fn absolute(ours: &Tensor, truth: &Tensor) -> f64 {
    Errors::new(ours, truth, Per::Entry).absolute
}

/// The largest relative error.
pub fn relative(ours: &Tensor, truth: &Tensor, per: Per) -> f64 {
    largest(Errors::new(ours, truth, per).relative)
}

struct Errors {
    absolute: f64,
    /// One for each entry, or one for the tensor.
    relative: Vec<f64>,
}

impl Errors {
    /// Tensors of different shapes are infinitely far apart.
    fn new(ours: &Tensor, truth: &Tensor, per: Per) -> Errors {
        if ours.size() != truth.size() {
            return Errors { absolute: f64::INFINITY, relative: vec![f64::INFINITY] };
        }
        let entries = match per {
            Per::Entry => truth.size().first().copied().unwrap_or(1),
            Per::Tensor { .. } => 1,
        };
        let zero = if let Per::Tensor { zero } = per { zero } else { 0.0 };
        let size = |x: &Tensor| to_vec(&x.abs().reshape([entries, -1]).amax(1, false));
        let (ours, truth) = (ours.to_kind(Kind::Double), truth.to_kind(Kind::Double));
        let absolute = size(&(ours - &truth));
        let relative =
            absolute.iter().zip(size(&truth)).map(|(error, size)| if *error == 0.0 { 0.0 } else { error / size.max(zero) }).collect();
        Errors { absolute: largest(absolute), relative }
    }
}
