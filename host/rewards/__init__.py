"""Reward and critic networks, from local files and from the host's sockets."""
