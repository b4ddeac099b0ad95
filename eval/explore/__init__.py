"""Figures about data and models: maps of features, diversity of classes, composition, accuracy by class.

Imports `builder.dataset`, `builder.images`, `training`, `eval.features`, `eval.protocols`, `eval.report`, `eval.tables`
and `eval.tasks`.
"""
