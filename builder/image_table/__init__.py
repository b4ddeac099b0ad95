"""A user's own images as one table with one row per sample: from a table, a folder or a zip.

Imports `builder.formats`, `builder.images` and what all of `builder` shares; nothing of torch.
"""
