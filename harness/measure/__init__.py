"""Time, load, energy and memory while something runs.

Nothing is told of a batch that is meant of one request; a counter that is missing gives an unknown, never a zero.

A new measurement: a function here, a class of lines in `store.schema.measurements`, and the step in `runs` that takes
it.
"""
