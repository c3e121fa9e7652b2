"""The launcher behind run.py: install a host, start it, talk to it, draw the demo's sheet."""
