#!/usr/bin/env python3
"""A network of the reference's PyTorch code (Song et al. 2021) as a program.

    export_reference.py CHECKOUT configs/ve/cifar10_ncsnpp_continuous.py checkpoint.pth net.pt

CHECKOUT is your copy of that code. Under VE the label is sigma and F the score: [precondition.plain] label = "sigma", output = "score".
Under VP the label is 999 t and F the noise: [precondition.reference].
"""

import importlib.util
import sys
from pathlib import Path

import torch


def network(checkout, config):
    """Its network for the configuration in a file of the checkout, with random weights."""
    torch.utils.cpp_extension.load = lambda *_, **__: None  # its operations for a GPU, which are compiled on import
    sys.path.insert(0, str(checkout))
    spec = importlib.util.spec_from_file_location("config", Path(checkout) / config)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    config = module.get_config()
    config.data.centered = True  # images come in [-1, 1]
    from models import ddpm, ncsnpp, ncsnv2, utils  # noqa: F401: each enters its networks

    return utils.get_model(config.model.name)(config).eval(), config


def export(net, config, file):
    x = torch.randn(2, config.data.num_channels, config.data.image_size, config.data.image_size)
    torch.jit.save(torch.jit.trace(net.eval(), (x, torch.tensor([1.0, 0.1]))), file)


if __name__ == "__main__":
    import torch.utils.cpp_extension

    checkout, config, checkpoint, file = sys.argv[1:]
    net, config = network(checkout, config)
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)  # a pickle: of people you trust
    net.load_state_dict({name.removeprefix("module."): value for name, value in state["model"].items()}, strict=False)
    for parameter, average in zip((p for p in net.parameters() if p.requires_grad), state["ema"]["shadow_params"], strict=True):
        parameter.data.copy_(average)
    export(net, config, file)
