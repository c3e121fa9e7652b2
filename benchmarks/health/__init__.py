"""Thousands of steps of every method on the tiny base: memory and losses."""
