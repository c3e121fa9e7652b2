"""Thousands of bad inputs through the real loaders and nodes."""
