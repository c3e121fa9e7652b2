"""What a run trains on, from the user's files or the host's sockets."""
