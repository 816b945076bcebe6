"""Results to what people read: text, Markdown, CSV, LaTeX, figures, HTML for a notebook.

The only place that makes sentences and markup. What came from a model, a server or a file is made harmless here.

A new medium: one file, and one line in `formats.FORMATS`.
"""
