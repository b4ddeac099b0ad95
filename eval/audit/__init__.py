"""The audit of a dataset folder: near duplicates, wrong labels, outliers, and images of the evaluation sets.

Imports `builder.dataset`, `builder.formats`, `builder.images`, `builder.pages`, `eval.scores`, `eval.sets` and
`eval.tasks`.
"""
