"""Figures about data and models: maps of features, diversity of classes, composition, accuracy by class; the atlas
and similar images.

Imports `builder.dataset`, `builder.formats`, `builder.images`, `builder.pages`, `loaders`, `training`,
`eval.features`, `eval.protocols`, `eval.report`, `eval.tables` and `eval.tasks`.
"""
