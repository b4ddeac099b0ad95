"""Scores features on three transfer tasks the training never saw."""
