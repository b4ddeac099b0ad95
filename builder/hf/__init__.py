"""The connections to Hugging Face: `load_dataset`, the builder class for `datasets`, and the Hub (push and pull).

May import the ground, `dataset`, `formats` and `shards`.
"""
