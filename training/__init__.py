"""Distillation as data: roles (networks by name), terms (losses), turns (who trains on what), methods (their tables).

torch and peft only: no host, no nodes. Denoisers are passed in, `(y, sigma, cond) -> x0` in the host's coordinates.
"""
