"""A text to an answer (`extractors`), an answer to a value in [0, 1] (`scorers`). No file is read, no task is known.

A new scorer: a function `(expected, answer, *, options)` in a file of `scorers`, one line in `SCORERS`, and a test
against its published definition. A new extractor: a function, and one line in `EXTRACTORS`.
"""
