"""Answers that exist already: from a table, or from the log of another tool. Nothing is asked."""
