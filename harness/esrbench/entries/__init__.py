"""What can be measured: networks, their weights, and data sets."""
