"""The run folder: typed lines, one hash chain, one lock. What stands before it needs a model, what follows reads files.

`schema` has the class of everything that is written and read back. Folders of earlier versions are read through
`schema.migration`, and never rewritten.

A new thing to keep: a field or a class in `schema`. A field without a default raises the schema's version, and says in
`migration` what older folders mean.
"""
