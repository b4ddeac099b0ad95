"""Tables of features: read and check them, and align their rows with the samples of a task.

Imports `eval.sets` and `builder.sources`.
"""
