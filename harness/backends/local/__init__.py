"""Any causal language model in this process, by transformers and our engine."""
