"""A challenge as a competition on Codabench: the bundle, its format, and the programs in it."""
