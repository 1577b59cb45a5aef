//! Tables of the experiment file, and the keys of faults.

use super::*;

fn parse(text: &str) -> Result<Data, toml::de::Error> {
    toml::from_str(text)
}

#[test]
fn tables_of_the_experiment_file_become_sets_and_back() {
    let cifar10 = parse("[cifar10]\nfolder = 'data/c'\nrange = [-1, 1]\nflip = true\ndequantise = false").unwrap();
    assert!(cifar10.flip());
    assert_eq!(cifar10.scale(), Scale::Pixels { range: [-1.0, 1.0], dequantise: false });
    let texts = [
        "[checkerboard]\ntrain = 9\ntest = 3\nscale = 2.0",
        "[two-moons]\ntrain = 9\ntest = 3\nnoise = 0.1\nscale = 2.0",
        "[swiss-roll]\ntrain = 9\ntest = 3\nnoise = 0.1\nscale = 2.0",
        "[spirals]\ntrain = 9\ntest = 3\nnoise = 0.1\nscale = 2.0",
        "[rings]\ntrain = 9\ntest = 3\nnoise = 0.1\nscale = 2.0",
        "[gaussian-mixture]\ntrain = 9\ntest = 3\nscale = 2.0\nmixture = {weights = [1.0], means = [[0.0, 1.0]], covariances = [[[1.0, 0.0], [0.0, 2.0]]]}",
        "[npy-vectors]\ntrain = 'a'\ntest = 'b'\nscale = 2.0",
        "[npy-images]\ntrain = 'a'\ntest = 'b'\nlayout = 'nhwc'\nrange = [0.0, 1.0]\nflip = false\ndequantise = true",
        "[npy-vectors]\ntrain = 'a.npz'\ntest = 'a.npz'\narrays = { train = 'x', test = 'y' }\nscale = 2.0",
        "[images]\ntrain = 'a'\ntest = 'b.zip'\nsize = [8, 9]\nfit = 'exact'\nchannels = 'grey'\nrange = [0.0, 1.0]\nflip = false\ndequantise = true",
        "[images]\ntrain = 'a'\ntest = 'b'\nlabels = 'dataset-json'\nsize = [8, 9]\nfit.crop.filter = 'lanczos'\nchannels = 'rgb'\nrange = [0.0, 1.0]\nflip = false\ndequantise = true",
        "[imagenet]\nfolder = 'a'\nrange = [0.0, 1.0]\nflip = false\ndequantise = true",
        "[csv]\ntrain = 'a'\ntest = 'b'\nheader = true\nseparator = ';'\ncolumns = ['x']\nlabels = 'y'\nscale = 2.0",
        "[idx]\ntrain = 'a'\ntest = 'b'\npad = 2\nrange = [0.0, 1.0]\nflip = false\ndequantise = true",
        "[idx]\ntrain = 'a'\ntest = 'b'\nlabels = { train = 'c', test = 'd' }\npad = 2\nrange = [0.0, 1.0]\nflip = false\ndequantise = true",
        "[idx]\ntrain = 'a'\ntest = 'b'\ndownsample = 2\npad = 0\nrange = [0.0, 1.0]\nflip = false\ndequantise = true",
    ];
    for text in texts {
        let data = parse(text).unwrap();
        assert!(text.starts_with(&format!("[{}]", data.name())), "{text}");
        assert_eq!(data.check(), Ok(()), "{text}");
        assert_eq!(parse(&toml::to_string(&data).unwrap()).unwrap(), data);
    }
}

#[test]
fn every_key_is_required_and_no_other_is_allowed() {
    let text = "[idx]\ntrain = 'a'\ntest = 'b'\npad = 2\nrange = [0.0, 1.0]\nflip = false\ndequantise = true";
    for line in text.lines().skip(1) {
        assert!(parse(&text.replace(line, "")).unwrap_err().message().contains("missing field"), "{line}");
    }
    assert!(parse(&format!("{text}\nlabel = 'c'")).unwrap_err().message().contains("unknown field `label`"));
}

#[test]
fn faults_carry_the_key_below_data() {
    for (text, key) in [
        ("[rings]\ntrain = 0\ntest = 3\nnoise = 0.1\nscale = 2.0", "rings.train"),
        ("[rings]\ntrain = 9\ntest = 3\nnoise = -0.1\nscale = 2.0", "rings.noise"),
        ("[checkerboard]\ntrain = 9\ntest = 1000000000000\nscale = 2.0", "checkerboard.test"),
        ("[checkerboard]\ntrain = 9\ntest = 3\nscale = 0.0", "checkerboard.scale"),
        (
            "[gaussian-mixture]\ntrain = 9\ntest = 3\nscale = 1.0\nmixture = {weights = [], means = [], covariances = []}",
            "gaussian-mixture.mixture.weights",
        ),
        ("[cifar10]\nfolder = 'c'\nrange = [1, -1]\nflip = true\ndequantise = false", "cifar10.range"),
        ("[idx]\ntrain = 'a'\ntest = 'b'\ndownsample = 9\npad = 0\nrange = [0.0, 1.0]\nflip = false\ndequantise = true", "idx.downsample"),
        (
            "[idx]\ntrain = 'a'\ntest = 'b'\nlabels = { train = '', test = 'd' }\npad = 2\nrange = [0.0, 1.0]\nflip = false\ndequantise = true",
            "idx.labels.train",
        ),
        ("[idx]\ntrain = 'a'\ntest = 'b'\npad = 999\nrange = [0.0, 1.0]\nflip = false\ndequantise = true", "idx.pad"),
    ] {
        assert_eq!(parse(text).unwrap().check().unwrap_err().key, key);
    }
}
