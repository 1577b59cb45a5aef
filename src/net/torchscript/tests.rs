use tch::no_grad;

use super::*;
use crate::error::Result;
use crate::optim::Parameters;
use crate::rng::{Purpose, normal};
use crate::testing::largest;

fn spec(name: &str) -> Spec {
    tch::set_num_threads(1);
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torchscript").join(name);
    let mut spec = Spec { file: name.into(), sha256: None, program: None };
    spec.take(std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))).unwrap();
    spec
}

fn built(name: &str, shape: &[usize]) -> (TorchScript, Parameters) {
    let builder = Builder::new(1, Kind::Float, Device::Cpu);
    let network = spec(name).build(&Interface::plain(shape), &builder);
    (network, builder.finish())
}

fn vectors(n: i64) -> [Tensor; 2] {
    [normal(1, Purpose::Data, 0, &[n, 2], Device::Cpu), normal(2, Purpose::Data, 0, &[n], Device::Cpu)]
}

fn ask(network: &TorchScript, [x, label]: &[Tensor; 2]) -> Tensor {
    network.forward(x, &Told::noise(label), None)
}

#[test]
fn its_parameters_are_views_of_the_flat_buffer() {
    let (network, parameters) = built("net.pt", &[2]);
    let names: Vec<_> = parameters.named().map(|(name, tensor, trained)| (name.to_owned(), tensor.size(), trained)).collect();
    let expected = [
        ("unused", vec![2, 1, 1, 1], false),
        ("input.weight", vec![16, 8], true),
        ("input.bias", vec![16], true),
        ("hidden.weight", vec![16, 16], true),
        ("hidden.bias", vec![16], true),
        ("output.weight", vec![2, 16], true),
        ("output.bias", vec![2], true),
    ];
    assert_eq!(names, expected.map(|(name, size, trained)| (name.to_owned(), size, trained)), "the tied layer is there once");
    let inputs = vectors(5);
    let before = ask(&network, &inputs);
    // The last two numbers are the bias of the output.
    let bias = parameters.flat().narrow(0, parameters.count() as i64 - 2, 2);
    let _ = no_grad(|| bias.shallow_clone().g_add_scalar_(3.0));
    assert!(largest(&(ask(&network, &inputs) - &before - 3.0)) < 1e-6);
    // A tied weight moves the module by both its uses: the gradient is that of finite differences.
    let loss = || ask(&network, &inputs).square().sum(Kind::Double);
    let gradient = parameters.gradient(&loss());
    for i in (0..parameters.count() as i64).step_by(37) {
        let number = parameters.flat().narrow(0, i, 1);
        let after = |step: f64| {
            let _ = no_grad(|| number.shallow_clone().g_add_scalar_(step));
            loss().double_value(&[])
        };
        let (above, below) = (after(1e-2), after(-2e-2));
        after(1e-2);
        let (found, truth) = (gradient.double_value(&[i]), (above - below) / 2e-2);
        assert!((found - truth).abs() < 0.02 * truth.abs().max(1.0), "number {i}: {found} is not {truth}");
    }
}

#[test]
fn the_gradient_of_a_convolution_comes_back_in_the_order_of_its_axes() {
    let (network, parameters) = built("image.pt", &[1, 8, 8]);
    let x = normal(1, Purpose::Data, 0, &[3, 1, 8, 8], Device::Cpu);
    let label = Tensor::from_slice(&[0.1f32, 0.2, 0.3]);
    let y = network.forward(&x, &Told::noise(&label), None);
    let weights: Vec<Tensor> = parameters.named().map(|(_, tensor, _)| tensor.shallow_clone()).collect();
    assert_eq!(weights[0].stride(), [9, 9, 3, 1]);
    let apart = Tensor::run_backward(&[y.square().sum(Kind::Float)], &weights, true, false);
    let flat = Tensor::cat(&apart.iter().map(|gradient| gradient.flatten(0, -1)).collect::<Vec<_>>(), 0);
    assert!(parameters.gradient(&y.square().sum(Kind::Float)).equal(&flat));
}

#[test]
fn the_first_call_has_the_bits_of_every_other_and_gradients_of_gradients_are_right() {
    for name in ["net.pt", "traced.pt", "frozen.pt"] {
        let (network, _parameters) = built(name, &[2]);
        let [x, label] = vectors(6);
        let x = x.set_requires_grad(true);
        let twice = || {
            let y = network.forward(&x, &Told::noise(&label), None);
            let first = Tensor::run_backward(&[y.square().sum(Kind::Float)], &[&x], true, true).remove(0);
            let second = Tensor::run_backward(&[first.square().sum(Kind::Float)], &[&x], false, false).remove(0);
            [y.detach(), first.detach(), second]
        };
        let once = twice();
        for call in 2..=10 {
            assert!(twice().iter().zip(&once).all(|(a, b)| a.equal(b)), "{name}: call {call}");
        }
        // ∇‖∇f‖² along a direction by differences of ‖∇f‖².
        let along = normal(3, Purpose::Data, 0, &[6, 2], Device::Cpu);
        let square = |step: f64| {
            let x = (x.detach() + &along * step).set_requires_grad(true);
            let y = network.forward(&x, &Told::noise(&label), None);
            Tensor::run_backward(&[y.square().sum(Kind::Float)], &[&x], false, false).remove(0).square().sum(Kind::Double).double_value(&[])
        };
        let (found, truth) = ((&once[2] * &along).sum(Kind::Double).double_value(&[]), (square(1e-2) - square(-1e-2)) / 2e-2);
        assert!((found - truth).abs() < 0.01 * truth.abs().max(0.1), "{name}: {found} is not {truth}");
    }
}

#[test]
fn a_label_for_all_is_that_of_each_and_dropout_is_off() {
    let (network, _parameters) = built("net.pt", &[2]);
    let [x, _] = vectors(4);
    let (one, each) = (Tensor::from_slice(&[0.3f32]), Tensor::from_slice(&[0.3f32; 4]));
    let dropout = Dropout::new(1, 0..4);
    let y = network.forward(&x, &Told::noise(&one), Some(&dropout));
    assert!(y.equal(&network.forward(&x, &Told::noise(&each), None)));
}

#[test]
fn nothing_known_is_a_row_of_zeros() {
    let builder = Builder::new(1, Kind::Float, Device::Cpu);
    let network = spec("told.pt").build(&Interface { shape: &[2], outputs: 1, condition: 3 }, &builder);
    let [x, label] = vectors(4);
    let told = |condition: Option<&Tensor>| network.forward(&x, &Told { noise: &label, condition }, None);
    let classes = Tensor::eye(3, (Kind::Int64, Device::Cpu));
    assert!(told(None).equal(&told(Some(&Tensor::zeros([1, 3], (Kind::Float, Device::Cpu))))));
    assert!(!told(None).equal(&told(Some(&classes.narrow(0, 1, 1)))));
}

#[test]
fn its_kind_is_that_of_what_it_gives() {
    for (name, kind) in [("net.pt", Kind::Float), ("mixture-f64.pt", Kind::Double), ("mixture-f32.pt", Kind::Float)] {
        assert_eq!(spec(name).kind(&Interface::plain(&[2])), kind, "{name}");
    }
}

fn tried(name: &str, condition: usize, trained: bool) -> Result<(), Fault> {
    let spec = spec(name);
    spec.check()?;
    let interface = Interface { shape: &[2], outputs: 1, condition };
    let row = Inputs::blank(&interface, spec.kind(&interface));
    let [x, label] = vectors(3).map(|tensor| tensor.to_kind(row.x.kind()));
    let condition = row.condition.map(|row| row.expand([3, -1], false));
    spec.try_out(1, &Inputs { x, noise: label, condition }, trained, trained)
}

#[test]
fn what_a_network_must_not_do_is_said_with_its_cure() {
    for (name, condition) in [("net.pt", 0), ("told.pt", 3), ("traced.pt", 0), ("wrong-late.pt", 0)] {
        assert_eq!(
            tried(name, condition, true).map_err(|fault| fault.message.contains("too small")),
            if name == "wrong-late.pt" { Err(true) } else { Ok(()) }
        );
    }
    for name in ["mixture-f32.pt", "mixture-f64.pt", "frozen.pt"] {
        assert_eq!(tried(name, 0, false), Ok(()), "{name}");
        assert!(tried(name, 0, true).unwrap_err().message.contains("no parameters that could be trained"), "{name}");
    }
    assert!(tried("wrong-shared.pt", 0, true).unwrap_err().message.contains("in one place of memory, one and other"));
    assert_eq!(tried("wrong-shared.pt", 0, false), Ok(()));
    let cases = [
        ("wrong-shape.pt", 0, "gives [3, 1] for x [3, 2]; expected [3, 2]", "shape of x"),
        ("wrong-nan.pt", 0, "not finite", "weights"),
        ("wrong-batch.pt", 0, "batch of 1", "eval()"),
        ("wrong-noise.pt", 0, "the second time", "eval()"),
        ("wrong-kind.pt", 0, "BFloat16", "module.float()"),
        ("wrong-gradient.pt", 0, "no gradient by x", "detach"),
        ("wrong-inplace.pt", 0, "changes its arguments in place", "x = x * 2"),
        ("wrong-baked.pt", 0, "batch of 1", "torch.jit.script"),
        ("wrong-state.pt", 0, "no TorchScript module", "torch.jit.save"),
        ("net.pt", 3, "F(x, label, condition) for [3, 2], [3], [3, 3]", "and the condition [B, M]"),
        ("told.pt", 0, "F(x, label) for [3, 2], [3]", "for [condition]"),
    ];
    for (name, condition, message, help) in cases {
        let fault = tried(name, condition, false).unwrap_err();
        assert!(fault.message.contains(message) && fault.message.contains(name), "{name}: {fault:?}");
        assert!(fault.help.contains(help) && !fault.message.contains(".cpp"), "{name}: {fault:?}");
        println!("{}\n    {}", fault.message, fault.help);
    }
}

#[test]
fn a_network_that_says_variances_gives_twice_as_much() {
    let [x, noise] = vectors(3);
    let fault = spec("net.pt").try_out(2, &Inputs { x, noise, condition: None }, false, false).unwrap_err();
    assert!(fault.message.contains("expected [3, 4]") && fault.help.contains("twice on the second axis"), "{fault:?}");
}

#[test]
fn a_file_that_is_not_the_stated_one_is_refused() {
    let mut spec = spec("net.pt");
    let bytes = spec.bytes().unwrap().to_vec();
    assert_eq!(spec.take(bytes.clone()), Ok(()));
    let fault = spec.take([&bytes[..], b"!"].concat()).unwrap_err();
    assert_eq!(fault.key, "sha256");
    assert!(spec.bytes() == Some(&bytes[..]));
}
