"""Prices and machines, and what follows from them: an hour's cost by part, a token's, an API's, break-even, projection.

Pure functions of figures; files of prices and machines are read here and nowhere else. Unknown stays unknown.

A new figure of cost: a function here, a field of `store.schema.Cost`, and a test with a bill worked out by hand.
"""
