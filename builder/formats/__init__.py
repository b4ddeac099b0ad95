"""From an image file of any supported format to one plane of pixels, within limits on size and memory.

Imports the ground only.
"""
