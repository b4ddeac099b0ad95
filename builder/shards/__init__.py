"""From a curated folder to a dataset folder of tar or Parquet shards, and the check that such a folder is whole.

Imports the ground, `dataset`, `formats` and `pages`.
"""
