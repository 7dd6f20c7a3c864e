"""The fused operations of (variational) autoencoders, for PyTorch.

    from vaelocity import ops

    rng = ops.Rng(seed=0)
    z, kl = ops.reparameterize_kl(mu, logvar, rng)
    total, reconstruction, kl = ops.elbo(x, decoder(z), mu, logvar)

Each is one pass over memory on the CPU (C++) and on CUDA (Triton), with the same random numbers,
and works with autograd, torch.compile, torch.export, torch.func and autocast. `explain` tells who
computes a call; `python -m vaelocity.ops` prints what is supported.

An op is a file here with a function of the file's name. Any such file is an op: nothing lists them
but the lines for type checkers below.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from vaelocity.backends import BACKENDS
from vaelocity.ops._explain import OPS, explain
from vaelocity.ops.rng import Rng

if TYPE_CHECKING:
    from vaelocity.ops.corrupt import corrupt as corrupt
    from vaelocity.ops.denoising_loss import denoising_loss as denoising_loss
    from vaelocity.ops.diffuse import diffuse as diffuse
    from vaelocity.ops.elbo import Elbo as Elbo
    from vaelocity.ops.elbo import elbo as elbo
    from vaelocity.ops.gaussian_kl import gaussian_kl as gaussian_kl
    from vaelocity.ops.philox_normal import philox_normal as philox_normal
    from vaelocity.ops.reconstruction_loss import reconstruction_loss as reconstruction_loss
    from vaelocity.ops.reparameterize import reparameterize as reparameterize
    from vaelocity.ops.reparameterize_kl import reparameterize_kl as reparameterize_kl
    from vaelocity.ops.sparsity import sparsity as sparsity

__all__ = ["BACKENDS", "OPS", "Rng", "explain"]


def _load() -> None:
    """Every op's function under its name: from here on `vaelocity.ops.<op>` is the function."""
    for found in pkgutil.iter_modules(__path__):
        if found.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{found.name}")
        if hasattr(module, "OP"):
            OPS[found.name] = module
            for public in getattr(module, "__all__", [found.name]):
                globals()[public] = getattr(module, public)
                __all__.append(public)


_load()
