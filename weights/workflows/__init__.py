"""Workflows read as data, without a host: their graph, the values on their wires, their sampling, and what is amiss."""
