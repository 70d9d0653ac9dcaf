"""`k_diffusion.sampling` without the rest of k-diffusion.

The package imports its training code on sight, and that asks for wandb, clip, kornia and others.
The samplers need one file beside their own, which asks for torchvision's image functions alone and
calls none of them here.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load():
    """The module `k_diffusion.sampling` as installed."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None:
        raise SystemExit("k-diffusion is missing: pip install --no-deps k-diffusion==0.1.1.post1")
    package = ModuleType("k_diffusion")
    package.__path__ = [str(Path(spec.origin).parent)]
    parents = [ModuleType("torchvision"), ModuleType("torchvision.transforms")]
    functional = ModuleType("torchvision.transforms.functional")
    parents[1].functional = functional
    absent = {module.__name__: module for module in (*parents, functional)}
    sys.modules.update(absent, k_diffusion=package)
    try:
        return importlib.import_module("k_diffusion.sampling")
    finally:
        for name in absent:
            del sys.modules[name]
