"""From an image file of any supported format to one plane of pixels, within limits on size and memory.

The reasons given by errors here are recorded in `rejected.parquet`, which the digest of a dataset covers: changing the
wording of a reason changes the digest.

May import the ground only.
"""
