"""Entries that can be measured: networks and their weights."""
