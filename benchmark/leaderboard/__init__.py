"""From runs to numbers; pandas and scipy only."""
