"""Features of a task's samples from a network: views of an image, backbones, engines, fusion.

Imports `builder.dataset`, `builder.images`, `eval.tasks`, `eval.tables` and `training`.
"""
