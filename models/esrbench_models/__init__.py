"""Networks, one folder each, with descriptors, code and shipped weights; they share ``blocks``."""
