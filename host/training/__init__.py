"""A training run inside the host: its job, its networks, what it leaves behind."""
