"""What people and machines read about a dataset: the card (README.md), croissant.json, previews, and the browse page.

Imports the ground, `dataset`, `images` and the registry of `sources`.
"""
