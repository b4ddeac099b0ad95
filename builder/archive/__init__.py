"""From the published Kaggle archive to a dataset folder, without unpacking it.

May import the ground, `curate` (split and file names), `dataset`, `formats`, `images`, `shards` and `sources`.
"""
