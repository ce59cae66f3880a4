"""Rendering of records and leaderboards."""
