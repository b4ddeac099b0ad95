"""The tasks as records: how to read, align, score and present each of them.

Imports `eval.sets`, `eval.tables`, `eval.protocols` and `eval.scores`.
"""
