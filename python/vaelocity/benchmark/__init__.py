"""Scores timed beside other runtimes: checked first, then in turns, with intervals.

`vaelocity bench` is made of it, and so are the scripts in bench/ of the repository. `timing` knows
nothing but callables, `machine` what a core can do, `race` one case, `peers` the other runtimes,
`cases` what is timed of a model, `score_report` the page.
"""

from __future__ import annotations
