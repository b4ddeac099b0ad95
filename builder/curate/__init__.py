"""From a selection to a curated folder: resumable, and every image either kept or rejected with a reason.

Imports the ground, `images` and `formats`.
"""
