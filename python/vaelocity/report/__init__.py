"""Figures, numbers and a self-contained HTML page about a trained model.

`figures` and `images` draw (every function takes `ax=` and returns it), `metrics` counts, `html`
writes one file that needs nothing beside it; `model_page` is the page of `vaelocity report`. Needs
the extra `vaelocity[report]`.
"""

from __future__ import annotations
