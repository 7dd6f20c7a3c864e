"""Who computes an op. A backend is one module here with three functions:

reject(names, args)   why it cannot take a call of the operators `names`, or None
unavailable(name)     why it has no kernel for the operator at all, or None
kernel(name)          the kernel, called as kernel(*args, *outputs) with the operator's arguments
"""

from __future__ import annotations

from types import ModuleType

from vaelocity.backends import cpu, reference, triton

BACKENDS: dict[str, ModuleType] = {"cpu": cpu, "triton": triton, "reference": reference}
"""In order of preference."""
