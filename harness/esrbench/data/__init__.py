"""Data sets: declarations, downloads and image pairs; strict readers and resizing of images."""
