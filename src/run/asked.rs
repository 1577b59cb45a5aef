//! What answers the tables of an experiment that ask something of what is trained.

/// A table, the product of the run that answers it, and the journals on the way there.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub table: &'static str,
    pub product: &'static str,
    pub journals: &'static [&'static str],
}

const fn asked(table: &'static str, product: &'static str, journals: &'static [&'static str]) -> Asked {
    Asked { table, product, journals }
}

/// All of them: without any, an experiment is still one.
pub const ASKED: [Asked; 7] = [
    asked("analytic_variance", "analytic_variance", &["analytic_variance.journal"]),
    asked("sample", "samples/samples", &["samples/samples.journal"]),
    asked("draw", "samples/samples", &["samples/samples.journal"]),
    asked("evaluate", "evaluation", &[]),
    asked("dequantisation", "dequantiser", &["dequantiser.journal"]),
    asked("likelihood", "likelihood", &["likelihood.journal", "likelihood.bound.journal"]),
    asked("density", "likelihood", &["likelihood.journal"]),
];
