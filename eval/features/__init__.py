"""Features of samples from a network: views of an image, backbones, engines, fusion.

Imports `builder.dataset`, `builder.image_table`, `builder.images`, `builder.pages`, `eval.sets`, `eval.tables`,
`loaders` and `training`.
"""
