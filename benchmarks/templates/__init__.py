"""The host's official templates against the rows of known files."""
