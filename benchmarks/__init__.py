"""Measurements of the pack: run one with `python run.py bench NAME` or `python -m benchmarks.NAME`."""
