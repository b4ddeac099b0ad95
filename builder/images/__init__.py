"""From planes to dataset images: read channels, normalise, merge, crop, and judge the quality. Pure functions.

Imports the ground and `formats`.
"""
