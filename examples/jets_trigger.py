"""From jets to a trigger decision: train on one kind, set a rate, decide, ask why.

    python examples/jets_trigger.py

Runs by itself, in seconds, on the shipped jets. Needs vaelocity[train].
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import vaelocity
from vaelocity import models
from vaelocity.data import jets
from vaelocity.working_points import store_thresholds


def main() -> None:
    """The whole way."""
    table = jets.load()
    quarks, tops = table.of_class("quark").split(0.7, 0), table.of_class("top")
    training, held_out = quarks
    model = models.VAE(
        table.n_features, latent=4, hidden=(32, 16), feature_names=table.feature_names
    )
    model.fit(training.rows, validation_fraction=0.1, epochs=4, seed=0, progress=False)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "jets.vael")
        model.save(path, kind="reconstruction")
        # The threshold is found with the frozen scorer, in events that the training has not seen.
        cut = vaelocity.load(path).threshold_for(
            held_out.rows, rate="400 kHz", input_rate="40 MHz", name="1 %"
        )
        store_thresholds(path, [cut])

        scorer = vaelocity.load(path)  # no torch from here on
        kept = scorer.predict(tops.rows)
        low, high = cut.interval
        print(f"threshold {cut.value:.4g}: true rate {low:.2%} to {high:.2%} of quark jets")
        print(f"kept {kept.mean():.1%} of top jets")
        most = tops.rows[[int(np.argmax(scorer.score(tops.rows)))]]
        parts = scorer.score_features(most)[0]
        for j in np.argsort(-parts)[:3].tolist():
            print(f"  {scorer.feature_names[j]} = {most[0, j]:.4g}: {parts[j] / parts.sum():.0%}")
        assert kept.mean() > high


if __name__ == "__main__":
    main()
