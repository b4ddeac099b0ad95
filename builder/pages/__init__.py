"""The pages about a dataset folder: README.md (dataset card), croissant.json, preview pictures, the browsable site.

May import the ground, `dataset`, `images` (to lay out pictures) and `sources.registry`.
"""
