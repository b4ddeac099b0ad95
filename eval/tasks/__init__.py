"""The three evaluation sets and how each is read."""
