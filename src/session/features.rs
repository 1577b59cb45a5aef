//! What makes features, as a specification names it.

use std::path::Path;

use serde_json::json;
use tch::Device;

use super::{Machine, Session, Subject};
use crate::classifier::{ClassifierFeatures, Spec};
use crate::error::{Error, Result};
use crate::evaluation::{Cache, Extractor, Source};
use crate::features::{EfficientNet, FeatureSpec, PROTOCOL};
use crate::file::sha256;
use crate::net::torchscript::FeatureModule;
use crate::run::tensors;

/// Error: a file of it is missing, or is something else.
pub fn open_features(spec: &FeatureSpec, device: Device) -> Result<Extractor> {
    Ok(match spec {
        FeatureSpec::Data {} => Extractor::data(),
        FeatureSpec::Torchscript { file } => {
            let module = FeatureModule::load(file, device)?;
            let source = Source { name: file.display().to_string(), protocol: None, sha256: Some(module.sha256.clone()) };
            Extractor::of(Box::new(module), device, Cache::of_user(), source)
        }
        FeatureSpec::EfficientnetLite0 { weights } => {
            let network = EfficientNet::load(weights, device)?;
            let (name, protocol, sha256) = ("efficientnet-lite0".into(), Some(PROTOCOL.into()), Some(network.sha256.clone()));
            Extractor::of(Box::new(network), device, Cache::of_user(), Source { name, protocol, sha256 })
        }
        FeatureSpec::Classifier { run } => classifier(run, device)?,
    })
}

/// Of the classifier beside the score of a run, or of a run of a classifier, with its averaged weights.
fn classifier(run: &Path, device: Device) -> Result<Extractor> {
    let beside = run.join(Spec::NAME);
    let own = if beside.join("experiment.toml").is_file() { &beside } else { run };
    let (session, _) = Session::open(own, Machine { device, ..Machine::default() })?;
    let scale = session.scale();
    let Subject::Classifier(sde, classifier) = session.subject else {
        let help = "train one: give the experiment [classifier], and run it";
        return Err(Error::run(run, "holds no classifier", help));
    };
    let network = ClassifierFeatures { classifier, sde, scale, shape: session.shape };
    let t_min = network.classifier.t_min;
    let how = json!({ "sde": network.sde, "scale": format!("{scale:?}"), "t_min": t_min, "shape": network.shape }).to_string();
    let weights = network.classifier.parameters.flat().to_device(Device::Cpu);
    let source = Source {
        name: format!("classifier of {}", run.display()),
        protocol: Some(format!("t = {t_min}")),
        sha256: Some(sha256([how.as_bytes(), tensors::bytes(&weights.contiguous())])),
    };
    Ok(Extractor::of(Box::new(network), device, Cache::of_user(), source))
}
