"""Losses that failed for real people, each with the page where someone met it."""
