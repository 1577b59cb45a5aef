use super::*;
use crate::rng::{Purpose, normal};
use crate::testing::largest;
use tch::{Device, Kind, no_grad};

fn published(size: usize, channels: usize, multipliers: &[usize], blocks: usize) -> f64 {
    let spec = Spec {
        channels,
        multipliers: multipliers.to_vec(),
        blocks,
        attention: vec![32, 16, 8],
        head_channels: 64,
        dropout: 0.0,
        embedding: EmbeddingSpec::Positional,
    };
    spec.check([3, size, size]).unwrap();
    let builder = Builder::dry();
    Adm::new(&spec, &Interface { shape: &[3, size, size], outputs: 2, condition: 1000 }, &builder);
    builder.trainable() as f64 / 1e6
}

/// Dhariwal & Nichol 2021, table 1 and appendix I, for classes of ImageNet and with learnt variances.
#[test]
fn the_sizes_of_the_paper_have_its_parameters() {
    for (got, millions) in [
        (published(64, 192, &[1, 2, 3, 4], 3), 296.0),
        (published(128, 256, &[1, 1, 2, 3, 4], 2), 422.0),
        (published(256, 256, &[1, 1, 2, 2, 4, 4], 2), 554.0),
    ] {
        assert!((got - millions).abs() < 1.0, "{got} million parameters, not {millions}");
    }
}

#[test]
fn it_starts_near_zero_and_every_parameter_has_a_gradient() {
    tch::set_num_threads(1);
    let spec = Spec {
        channels: 8,
        multipliers: vec![1, 2],
        blocks: 1,
        attention: vec![4],
        head_channels: 4,
        dropout: 0.0,
        embedding: EmbeddingSpec::Positional,
    };
    spec.check([2, 8, 8]).unwrap();
    let builder = Builder::new(1, Kind::Double, Device::Cpu);
    let network = Adm::new(&spec, &Interface { shape: &[2, 8, 8], outputs: 2, condition: 3 }, &builder);
    let parameters = builder.finish();
    let x = normal(2, Purpose::Data, 0, &[5, 2, 8, 8], Device::Cpu).to_kind(Kind::Double);
    let noise = normal(3, Purpose::Data, 0, &[5], Device::Cpu).to_kind(Kind::Double);
    let condition = Tensor::eye(5, (Kind::Double, Device::Cpu)).narrow(1, 0, 3);
    let ask = || network.forward(&x, &Told { noise: &noise, condition: Some(&condition) }, None);
    assert_eq!(ask().size(), [5, 4, 8, 8]);
    assert!(largest(&ask()) < 1e-3);
    let flat = parameters.flat();
    no_grad(|| flat.shallow_clone().copy_(&(normal(5, Purpose::Init, 0, &flat.size(), Device::Cpu) * 0.3)));
    let alone =
        network.forward(&x.narrow(0, 2, 1), &Told { noise: &noise.narrow(0, 2, 1), condition: Some(&condition.narrow(0, 2, 1)) }, None);
    assert!(largest(&(ask().narrow(0, 2, 1) - alone)) < 1e-9, "an example's output is its own");
    let gradient = parameters.gradient(&ask().square().sum(Kind::Double));
    // The bias of the keys adds the same to all of a row before its softmax: three layers of 16 channels.
    let without = parameters.count() as i64 - gradient.count_nonzero(None).int64_value(&[]);
    assert!(without <= 3 * 16 + 16, "{without} parameters have no gradient");
}

#[test]
fn heads_that_do_not_fit_are_refused() {
    let spec = Spec {
        channels: 8,
        multipliers: vec![1, 3],
        blocks: 1,
        attention: vec![],
        head_channels: 16,
        dropout: 0.0,
        embedding: EmbeddingSpec::Positional,
    };
    assert_eq!(spec.check([1, 8, 8]).unwrap_err().key, "head_channels");
    assert!(Spec { head_channels: 12, ..spec }.check([1, 8, 8]).is_ok());
}
