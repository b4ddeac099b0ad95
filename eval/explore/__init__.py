"""Figures about scores and data: maps of features, diversity of classes, composition, accuracy by class.

Imports `eval.features`, `eval.report` and `builder.images`.
"""
