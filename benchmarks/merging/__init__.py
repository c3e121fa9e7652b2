"""Interpolating files beside plainly reading and writing their bytes."""
