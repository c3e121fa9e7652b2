"""Writers of files that the repository holds."""
