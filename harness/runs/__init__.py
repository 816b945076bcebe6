"""A plan, checked, carried out and resumed: every step that needs a model ends here, in the files of the run folder.

A new phase of a run: a function that yields steps, called from `carry_out`. It stores each answer before it tells of
it.
"""
