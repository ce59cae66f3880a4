"""Data sets: declared, fetched, paired, decoded; and their images, strictly read and resized."""
