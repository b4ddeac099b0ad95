"""The audit of a dataset folder: near duplicates, wrong labels, outliers, and images of the evaluation sets.

Imports `builder.dataset`, `builder.image_table`, `builder.images`, `builder.pages`, `eval.protocols`, `eval.scores`,
`eval.sets`, `eval.tasks` and `loaders`.
"""
