"""What a finished dataset folder is: its manifest, where to find it, and how to read its rows and images.

Imports the ground and `formats`. Nothing here writes a dataset.
"""
