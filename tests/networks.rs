//! Networks against the numbers of the reference implementation, see `tests/golden/README.md`.

mod common;

use std::collections::HashMap;

use common::golden::{self, Case, distance, magnitude};
use score_sde::net::Network;
use score_sde::optim::{Builder, Parameters};
use serde_json::Value;
use tch::{Device, Kind, Tensor, no_grad};

/// A golden model in one precision, with what the reference's network does and ours leaves to the preconditioner around it: images from
/// [0, 1] to [-1, 1], the logarithm of the label, the division by σ.
struct Model<'a> {
    config: &'a Value,
    tensors: &'a HashMap<String, Tensor>,
    kind: Kind,
    network: Box<dyn Network>,
    parameters: Parameters,
}

impl Model<'_> {
    fn load<'a>(case: &'a Case, tensors: &'a HashMap<String, Tensor>, kind: Kind) -> Model<'a> {
        let config = &case.description["config"];
        let (spec, shape) = golden::network(config);
        spec.check(&shape).unwrap_or_else(|fault| panic!("{}: {fault:?}", case.name));
        let builder = Builder::new(0, kind, Device::Cpu);
        let network = spec.build(&shape, &builder);
        let parameters = builder.finish();
        let mut names = 0;
        for (name, tensor, _) in parameters.named() {
            let value = tensors.get(&format!("param.{name}")).unwrap_or_else(|| panic!("{}: no golden parameter {name}", case.name));
            assert_eq!(value.size(), tensor.size(), "{}: {name}", case.name);
            no_grad(|| tensor.shallow_clone().copy_(value));
            names += 1;
        }
        let expected = tensors.keys().filter(|key| key.starts_with("param.") && *key != "param.sigmas").count();
        assert_eq!(names, expected, "{}: number of parameters", case.name);
        Model { config, tensors, kind, network, parameters }
    }

    fn is(&self, section: &str, key: &str) -> bool {
        self.config[section][key].as_bool().unwrap_or(false)
    }

    fn fourier(&self) -> bool {
        self.config["model"]["name"] == "ncsnpp" && self.config["model"]["embedding_type"] == "fourier"
    }

    /// The reference's output at image `x`.
    fn forward(&self, x: &Tensor, see: &mut dyn FnMut(&Tensor)) -> Tensor {
        let prefix = if self.kind == Kind::Double { "f64" } else { "f32" };
        let labels = &self.tensors[&format!("{prefix}.labels")];
        let sigma = match self.fourier() {
            true => labels.to_kind(self.kind),
            false => self.tensors["param.sigmas"].index_select(0, &labels.to_kind(Kind::Int64)).to_kind(self.kind),
        };
        let noise = if self.fourier() { sigma.log() } else { labels.to_kind(self.kind) };
        let y = if self.is("data", "centered") { x.shallow_clone() } else { x * 2 - 1 };
        let y = self.network.trace(&y, &noise, false, see);
        if self.is("model", "scale_by_sigma") { y / sigma.view([-1, 1, 1, 1]) } else { y }
    }
}

fn models() -> Vec<(Case, HashMap<String, Tensor>)> {
    tch::set_num_threads(1);
    let cases: Vec<_> = golden::cases("model").into_iter().map(|case| (case.tensors("file"), case)).map(|(t, c)| (c, t)).collect();
    assert!(!cases.is_empty(), "no golden case of kind model in {}", golden::folder().display());
    cases
}

#[test]
fn outputs_in_f64_equal_the_reference() {
    for (case, tensors) in &models() {
        let model = Model::load(case, tensors, Kind::Double);
        let y = no_grad(|| model.forward(&tensors["x"].to_kind(Kind::Double), &mut |_| ()));
        let truth = &tensors["f64.net_out"];
        let error = distance(&y, truth) / magnitude(truth);
        println!("{:28} f64 output: relative error {error:.1e}", case.name);
        assert!(error < 1e-9, "{}: the output is off by {error:e} relative", case.name);
    }
}

#[test]
fn outputs_and_activations_in_f32_are_as_near_as_the_references_own() {
    for (case, tensors) in &models() {
        let model = Model::load(case, tensors, Kind::Float);
        let activations = if case.description["acts"].is_string() { case.tensors("acts") } else { HashMap::new() };
        let mut layers = 0;
        let mut worst = 0.0f64;
        let y = no_grad(|| {
            model.forward(&tensors["x"], &mut |h| {
                if let Some(truth) = activations.get(&format!("f32.act.all_modules.{layers}")) {
                    let error = distance(h, truth) / magnitude(truth);
                    assert!(error < 1e-4, "{}: all_modules.{layers} is off by {error:e} relative", case.name);
                    worst = worst.max(error);
                }
                assert_eq!(h.kind(), Kind::Float);
                layers += 1;
            })
        });
        assert_eq!(layers, activations.len(), "{}: number of layers", case.name);
        let truth = &tensors["f64.net_out"];
        let (error, own) = (distance(&y, truth), distance(&tensors["f32.net_out"], truth));
        println!("{:28} f32 output: error {error:.1e}, the reference's {own:.1e}; activations within {worst:.1e} relative", case.name);
        assert!(error < (1e-5 * magnitude(truth)).max(3.0 * own), "{}: the f32 output is off by {error:e}", case.name);
    }
}

#[test]
fn gradients_in_f64_equal_the_reference() {
    for (case, tensors) in &models() {
        let model = Model::load(case, tensors, Kind::Double);
        let x = tensors["x"].to_kind(Kind::Double).set_requires_grad(true);
        let loss = (model.forward(&x, &mut |_| ()) * &tensors["probe"]).sum(Kind::Double);
        let mut worst: (f64, &str) = (0.0, "");
        let mut compare = |name, gradient: &Tensor, truth: &Tensor, tolerance| {
            let error = distance(gradient, truth) / magnitude(truth).max(1e-300);
            assert!(error < tolerance, "{}: gradient of {name} is off by {error:e} relative", case.name);
            worst = if error > worst.0 { (error, name) } else { worst };
        };
        let grad_x = Tensor::run_backward(&[&loss], &[&x], true, false).remove(0);
        compare("x", &grad_x, &tensors["f64.grad_x"], 1e-9);
        let flat = model.parameters.gradient(&loss);
        let mut offset = 0;
        for (name, tensor, _) in model.parameters.named().filter(|(_, _, trainable)| *trainable) {
            let n = tensor.numel() as i64;
            let gradient = flat.narrow(0, offset, n).view_as(tensor);
            offset += n;
            // Stored in f32.
            match tensors.get(&format!("f64.grad.{name}")) {
                Some(truth) if magnitude(truth) > 1e-9 => compare(name, &gradient, truth, 1e-6),
                _ => assert!(magnitude(&gradient) < 1e-9, "{}: gradient of {name} should be 0", case.name),
            }
        }
        println!("{:28} f64 gradients: largest relative error {:.1e}, {}", case.name, worst.0, worst.1);
    }
}

#[test]
fn published_configurations_have_the_references_parameters() {
    let path = golden::folder().join("fullsize.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let published: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    // An entry without a configuration is one that the reference can't build.
    for (name, truth) in published.iter().filter(|(_, truth)| truth["config"].is_object()) {
        let (spec, shape) = golden::network(&truth["config"]);
        spec.check(&shape).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        assert_eq!(spec.parameter_count(&shape) as u64, truth["n_trainable"].as_u64().unwrap(), "{name}");
        let builder = Builder::dry();
        spec.build(&shape, &builder);
        let ours = builder.inventory();
        let theirs: Vec<&Value> = truth["state"].as_array().unwrap().iter().filter(|entry| entry["param"] == true).collect();
        assert_eq!(ours.len(), theirs.len(), "{name}: number of parameters");
        for ((ours, shape, trainable), theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours, theirs["name"].as_str().unwrap(), "{name}");
            assert_eq!(serde_json::json!(shape), theirs["shape"], "{name}: {ours}");
            assert_eq!(*trainable, theirs["trainable"] == true, "{name}: {ours}");
        }
        println!("{name:40} {} parameters", truth["n_trainable"]);
    }
}
