"""The tiny base's ControlNet on edges: its data, its training, its file, and whether pictures follow the edges."""
