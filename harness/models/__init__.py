"""What a model folder is: size, licence, context, openness, and whether it is safe to load.

Only files are read: no pickle is opened, no code from a folder runs, and torch is not imported.

A new check of safety: a function of `safety`, and a folder that it refuses among the tests. A new licence: a line in
`licences`.
"""
