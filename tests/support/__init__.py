"""What several test files share: servers to ask, model architectures, commands, rows of public data sets."""
