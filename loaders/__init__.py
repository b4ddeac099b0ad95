"""Reads a dataset folder and yields batches of images as torch tensors.

May import `builder`. Imported by `training` and `eval`. Never imports either of them.
"""
