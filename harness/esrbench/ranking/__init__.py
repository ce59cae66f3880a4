"""Challenge rules as data, and the leaderboards they give."""
