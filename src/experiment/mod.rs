//! The experiment file: as it is written, as it is checked, and everything that can be wrong with it found before any work.

mod autoencoder;
mod changes;
mod choices;
mod claim;
mod conditions;
mod difference;
mod doubts;
mod draft;
mod family;
mod layers;
mod load;
mod mistakes;
mod needs;
mod origins;
mod paths;
mod plan;
mod program;
mod schema;
mod spelling;
mod text;
mod watched;
mod words;
mod written;

pub use draft::{Draft, Process};
pub use layers::Override;
pub use load::{Loaded, default_run_folder, load, load_data, load_into, load_run, parse, tables_of};
pub use needs::{Needs, PHASES};
pub use origins::Origins;
pub use plan::{Family, Learned, Plan};
pub use schema::schema;
pub use written::Experiment;
