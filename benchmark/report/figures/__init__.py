"""The figures of a leaderboard, one per file."""
