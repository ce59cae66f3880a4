"""Running entries: the evaluator holds HR images, the clock and the records."""
