"""From a curated folder to a dataset folder of tar or Parquet shards, and the check that such a folder is complete.

May import the ground, `dataset`, `formats` and, to write README.md and the like, `pages`.
"""
