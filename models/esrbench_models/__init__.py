"""Networks: a folder each, with descriptors, code and shipped weights; ``blocks`` are shared."""
