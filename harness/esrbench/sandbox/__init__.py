"""Sandboxes of workers: bubblewrap, Landlock or a plain process, and the limits of each."""
