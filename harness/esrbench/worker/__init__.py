"""The worker process that runs a network, and the channel to it."""
