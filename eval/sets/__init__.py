"""The files of the three evaluation sets: find and check them, list their samples, decode their pixels.

Imports `builder.formats` and the ground of `builder` only.
"""
