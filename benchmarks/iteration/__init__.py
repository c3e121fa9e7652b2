"""Seconds of a training step of each method, by variants of how it is computed."""
