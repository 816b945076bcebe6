"""Our own inference on torch: many texts scored or continued at once, each shared token computed once.

`score` has the prefix tree, `generate` continuous batching; `text` is what servers need too, and imports no torch.
`plain_method` is the reference that everything else must agree with.

A new way to run a model: a decoder in `generate`, or a reader in `score`, chosen by what a model can do and never by a
list of names, and a test that its numbers are the plain method's.
"""
