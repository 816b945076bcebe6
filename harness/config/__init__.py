"""What a person may write, checked once and frozen: task, run, model, machine and bench files.

A key is one annotated field, with a comment behind it that says what it means; the reference in `docs/reference`, the
schemas of editors and the message for a misspelt key all follow from it. `assemble` is the one way from a file and
what is added to it to a `RunConfig`, for the command line and for Python.

A new key: a field of the class of its file, a line in `docs/examples`, `make docs`. It must be read somewhere.
"""
