"""A run folder to rows, comparisons and what a reader must know, as figures: no sentence, no markup, no model.

Imports neither torch nor any of runs, backends and engine, so that a laptop without weights can judge a run again.

A new statistic of a row: a function in a file here and one line in `statistics.STATISTICS`; its arithmetic is a pure
function of `harness.stats`, with a known answer as its test. A new note: a code in `store.schema.notes`, made here, and
its sentence in `reports.notes`.
"""
