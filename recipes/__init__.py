"""How the shipped weights were made: a folder per weight file."""
