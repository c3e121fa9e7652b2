"""Seconds per step of our samplers beside the host's."""
