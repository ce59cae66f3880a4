"""Networks: one file an architecture, shared blocks in ``blocks``, descriptors in ``entries``."""
