#!/usr/bin/env python3
"""An EDM network (Karras et al. 2022) as a program: F, without the scalings around it, which [precondition.edm] has.

    export_edm.py CHECKOUT network.pkl net.pt

CHECKOUT is your copy of the code of that paper. [precondition.edm] sigma_data = 0.5 under [sde.ve]; a network of classes is
F(x, label, condition), for [condition.class].
"""

import pickle
import sys

import torch


class F(torch.nn.Module):
    def __init__(self, precond):
        super().__init__()
        self.model = precond.model

    def forward(self, x, label, condition=None):
        return self.model(x, label, condition)


def export(precond, file):
    networks = sys.modules[type(precond.model).__module__]
    # A function with a gradient of its own is no part of a program; this one has the gradient of its operations.
    attention = lambda q, k: torch.einsum("ncq,nck->nqk", q, k / k.shape[1] ** 0.5).softmax(2)
    if hasattr(networks, "AttentionOp"):
        networks.AttentionOp.apply = staticmethod(attention)
    x = torch.randn(2, precond.img_channels, precond.img_resolution, precond.img_resolution)
    told = [torch.eye(precond.label_dim)[[0, 1]]] if precond.label_dim else []
    torch.jit.save(torch.jit.trace(F(precond).eval(), (x, torch.tensor([-1.0, 1.0]), *told)), file)


if __name__ == "__main__":
    checkout, network, file = sys.argv[1:]
    sys.path.insert(0, checkout)
    with open(network, "rb") as opened:
        export(pickle.load(opened)["ema"].float(), file)  # a pickle: of people you trust
