"""The connections to Hugging Face: `load_dataset`, the `datasets` builder, and the Hub (push and pull).

Imports the ground, `dataset`, `formats` and `shards`.
"""
