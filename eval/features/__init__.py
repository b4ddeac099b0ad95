"""Features of samples from a network: views of an image, backbones, engines, fusion.

Imports `builder.dataset`, `builder.images`, `eval.sets`, `eval.tables` and `training`.
"""
