use super::*;
use crate::net::ddpm;
use crate::rng::{Purpose, normal};
use tch::{Device, Kind, no_grad};

/// A small network whose parameters are all random, and images with labels for it.
fn small(conditional: bool) -> (UNet, Tensor, Tensor) {
    told_of(0, conditional)
}

/// The same, told of conditions of so many numbers.
fn told_of(condition: usize, conditional: bool) -> (UNet, Tensor, Tensor) {
    tch::set_num_threads(1);
    let spec = ddpm::Spec {
        channels: 64,
        multipliers: vec![1, 1],
        blocks: 1,
        attention: vec![4],
        up_attention: UpAttention::Last,
        dropout: 0.3,
        resample_with_convolution: true,
        conditional,
    };
    let builder = Builder::new(1, Kind::Double, Device::Cpu);
    let network =
        UNet::new(&spec.as_ncsnpp(), &Interface { condition, ..Interface::plain(&[2, 8, 8]) }, crate::net::ddpm::groups, &builder);
    let parameters = builder.finish();
    let random = normal(2, Purpose::Init, 0, &parameters.flat().size(), Device::Cpu) * 0.1;
    no_grad(|| parameters.flat().shallow_clone().copy_(&random));
    parameters.freeze();
    let x = normal(3, Purpose::Data, 0, &[3, 2, 8, 8], Device::Cpu).to_kind(Kind::Double);
    (network, x, Tensor::from_slice(&[10.0, 500.0, 999.0]))
}

#[test]
fn dropout_is_for_training_and_follows_its_seed() {
    let (network, x, noise) = small(true);
    let train = |seed| network.forward(&x, &Told::noise(&noise), Some(&Dropout::new(seed, 0..3)));
    assert_eq!(train(1), train(1));
    assert_ne!(train(1), train(2));
    let eval = network.forward(&x, &Told::noise(&noise), None);
    assert_eq!(eval, network.forward(&x, &Told::noise(&noise), None));
    assert_ne!(eval, train(1));
}

#[test]
fn only_a_conditional_network_sees_its_label() {
    for conditional in [true, false] {
        let (network, x, noise) = small(conditional);
        let moved = network.forward(&x, &Told::noise(&(&noise * 0.5)), None);
        assert_eq!(network.forward(&x, &Told::noise(&noise), None) != moved, conditional);
    }
}

#[test]
fn a_condition_changes_its_own_image_and_zeros_are_none() {
    let (network, x, noise) = told_of(3, true);
    let condition = Tensor::from_slice(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]).view([3, 3]);
    let told = network.forward(&x, &Told { noise: &noise, condition: Some(&condition) }, None);
    let untold = network.forward(&x, &Told::noise(&noise), None);
    for (i, same) in [(0, false), (1, true), (2, false)] {
        let off = (told.get(i) - untold.get(i)).abs().max().double_value(&[]);
        assert_eq!(off < 1e-12, same, "image {i} is {off} off");
    }
}

#[test]
fn an_image_does_not_see_its_batch_mates() {
    let (network, x, noise) = small(true);
    let batch = network.forward(&x, &Told::noise(&noise), None);
    let alone = network.forward(&x.narrow(0, 1, 1), &Told::noise(&noise.narrow(0, 1, 1)), None);
    assert!((batch.narrow(0, 1, 1) - alone).abs().max().double_value(&[]) < 1e-12);
}

#[test]
fn second_derivatives_equal_central_differences_of_the_first() {
    let (network, x, noise) = small(true);
    let gradient = |x: &Tensor, graph| {
        let loss = network.forward(x, &Told::noise(&noise), None).square().sum(Kind::Double);
        Tensor::run_backward(&[loss], &[x], true, graph).remove(0)
    };
    let direction = normal(4, Purpose::Probe, 0, &x.size(), Device::Cpu).to_kind(Kind::Double);
    let x = x.set_requires_grad(true);
    let slope = (gradient(&x, true) * &direction).sum(Kind::Double);
    let second = Tensor::run_backward(&[slope], &[&x], false, false).remove(0);
    let h = 1e-5;
    let at = |step: f64| gradient(&(x.detach() + &direction * step).set_requires_grad(true), false);
    let difference = (at(h) - at(-h)) / (2.0 * h);
    let error = (&second - difference).abs().max().double_value(&[]) / second.abs().max().double_value(&[]);
    assert!(error < 1e-7, "relative error {error:e}");
}
