"""Trains image classifiers on a dataset folder, and loads them as backbones that compute features.

May import `builder` and `loaders`. Imported by `eval`. Never imports it.
"""
