"""The demo models and their data: the generator, the training script, and the weights. Nothing imports it."""
