"""A challenge as a competition on Codabench: the bundle, its format and its programs."""
