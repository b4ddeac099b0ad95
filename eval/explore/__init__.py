"""Figures about data and models: maps of features, diversity of classes, composition, accuracy by class.

Imports `builder.dataset`, `builder.images`, `eval.features`, `eval.report`, `eval.tables`, `eval.tasks` and `training`.
"""
