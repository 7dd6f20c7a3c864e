"""A model or a scorer behind the interfaces of other packages.

    vaelocity.adapters.as_sklearn(scorer)   # an outlier detector of scikit-learn, already fitted
    vaelocity.adapters.as_pyod(scorer, rows)
    vaelocity.adapters.as_river(model)      # learns and scores one dict at a time

The classes behind them train a model of their own with fit(X): `sklearn.OutlierDetector`,
`pyod.Detector`, `river.Anomaly`, each in the module of that name. Each needs its package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaelocity.adapters.pyod import as_pyod
    from vaelocity.adapters.river import as_river
    from vaelocity.adapters.sklearn import as_sklearn

__all__ = ["as_pyod", "as_river", "as_sklearn"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = importlib.import_module(f"vaelocity.adapters.{name.removeprefix('as_')}")
        return getattr(module, name)
    raise AttributeError(f"module 'vaelocity.adapters' has no attribute {name!r}")
