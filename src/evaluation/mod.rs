//! Evaluation: two sets of examples compared by their features, with an interval on every number and the protocol beside it.
//!
//! A [`Set`] holds examples, an [`Extractor`] makes a [`FeatureTable`] [N, D] of it, [`compare`] measures two of these, and a
//! [`Report`] says what was compared and how.

mod against;
mod cache;
mod classes;
mod compare;
mod comparison;
mod curve;
mod drawn;
mod extractor;
mod memorisation;
mod moments;
mod protocol;
mod report;
mod set;
mod spec;
mod table;
mod verdict;

pub use against::Against;
pub use cache::Cache;
pub use classes::OfClass;
pub use compare::{Better, Measure, Settings, compare, compare_with_moments};
pub use comparison::Comparison;
pub use curve::{Curve, OfCheckpoint};
pub use extractor::{Extractor, Reading};
pub use memorisation::{Memorisation, Pair};
pub use moments::{AboutMoments, KeptMoments};
pub use protocol::{Followed, Protocol};
pub use report::{Report, Than};
pub use set::{Holds, Labels, Set};
pub use spec::{DuringTraining, Evaluate};
pub use table::{About, FeatureKind, FeatureTable, Source};
pub use verdict::Verdict;
