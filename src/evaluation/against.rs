//! What a set is compared with.

use super::moments::KeptMoments;
use super::table::FeatureTable;

/// Examples, or the moments of a law of which no examples are there.
pub enum Against {
    Examples(Box<FeatureTable>),
    Moments(KeptMoments),
}
