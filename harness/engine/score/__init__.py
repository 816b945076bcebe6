"""Log-probabilities of given texts: the prefix tree, and which models it is shown to be right for."""
