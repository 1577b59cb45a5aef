#!/usr/bin/env python3
"""A module of yours as a program: F(x, label), of any class that takes no arguments.

    export_plain.py PACKAGE.MODULE CLASS net.pt [STATE_DICT.pth]
"""

import importlib
import sys

import torch


def export(module, file):
    torch.jit.save(torch.jit.script(module.eval()), file)


if __name__ == "__main__":
    sys.path.insert(0, "")
    package, name, file, *state = sys.argv[1:]
    net = getattr(importlib.import_module(package), name)()
    if state:
        net.load_state_dict(torch.load(state[0], map_location="cpu", weights_only=True))
    export(net, file)
