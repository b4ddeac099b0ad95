"""From a selection to a curated folder: resumable, and every image accounted for.

Imports the ground, `images` and `formats`.
"""
