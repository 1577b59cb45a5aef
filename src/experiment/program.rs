//! The file of a network that is a program of others: found, kept in the run, tried.

use super::load::Loaded;
use super::plan::{Family, Plan};
use super::text::Text;
use super::written::Experiment;
use crate::error::{Error, Result};
use crate::file;
use crate::loss::Objective;
use crate::model::asked;
use crate::net::{Interface, NetworkSpec, torchscript};
use crate::run::{NETWORK, Run};

impl Experiment {
    fn program(&self) -> Option<&torchscript::Spec> {
        match &self.network {
            Some(NetworkSpec::Torchscript(spec)) => Some(spec),
            _ => None,
        }
    }

    /// Reads the file of `[network.torchscript]`, if there is one: that which it names, or where that is gone the copy in the run.
    pub(super) fn read_program(&mut self, own: Option<&Run>, text: &Text) -> Result<()> {
        let Some(NetworkSpec::Torchscript(spec)) = &mut self.network else { return Ok(()) };
        let named = file::read(&spec.file).map_err(|error| Error::io("read", &spec.file, error))?;
        let copied = || own.map_or(Ok(None), |run| run.read(NETWORK));
        let bytes = named.map_or_else(copied, |bytes| Ok(Some(bytes)))?.ok_or_else(|| {
            let help = "write it with torch.jit.save, as docs/your-network.md shows, or correct network.torchscript.file";
            Error::data(&spec.file, "there is no such file", help)
        })?;
        spec.take(bytes).map_err(|fault| text.fault(fault.within("network.torchscript")))
    }

    /// Takes the copy in a run, of which this is the experiment.
    pub(super) fn take_copy(&mut self, run: &Run) -> Result<()> {
        let Some(NetworkSpec::Torchscript(spec)) = &mut self.network else { return Ok(()) };
        let help = "score-sde run with this experiment, beside the file that it names, copies it again";
        let wrong = |what: &str| Error::run(run.path().join(NETWORK), what, help);
        let bytes = run.read(NETWORK)?.ok_or_else(|| wrong("is missing, the network of this run"))?;
        spec.take(bytes).map_err(|fault| wrong(&format!("is damaged: {}", fault.message)))
    }
}

impl Loaded {
    /// Copies the file of the network into the run, if it is one, unless it is there.
    pub fn keep_program(&self, run: &Run) -> Result<()> {
        match self.experiment.program().and_then(torchscript::Spec::bytes) {
            Some(bytes) if run.read(NETWORK)?.as_deref() != Some(bytes) => run.write(NETWORK, bytes).map(drop),
            _ => Ok(()),
        }
    }

    /// Error: a network that is a program of others is not what this plan needs.
    pub(super) fn try_program(&self, text: &Text) -> Result<()> {
        let Plan { family: Family::Score(learned), .. } = &self.plan else { return Ok(()) };
        let NetworkSpec::Torchscript(spec) = &learned.network else { return Ok(()) };
        let (shape, condition, outputs) = (self.model_shape(), self.plan.told(self.condition), learned.parametrisation.outputs());
        let kind = spec.kind(&Interface { shape: &shape, outputs, condition });
        let inputs = asked(learned.sde.get(), &learned.parametrisation, self.plan.scale(), kind, (&shape, condition));
        let objective = learned.training.as_ref().map(|(matching, _)| &matching.objective);
        let twice = matches!(objective, Some(Objective::Implicit { .. } | Objective::Sliced { .. }));
        spec.try_out(outputs, &inputs, objective.is_some(), twice).map_err(|fault| text.fault(fault.within("network.torchscript")))
    }
}
