"""Evaluation of open-weights language models on your own workflow."""
