"""Texts written by a model: continuous batching, samplers, constraints, and a decoder for each sort of model."""
