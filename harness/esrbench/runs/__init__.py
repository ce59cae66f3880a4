"""Running entries: the evaluator holds HR images, the clock's verdict and the records."""
