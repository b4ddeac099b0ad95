"""A finished dataset folder: its manifest, how it is found, and how its rows and images are read.

May import the ground only. Nothing here writes a dataset.
"""
