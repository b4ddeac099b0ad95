"""The protocols: from a table of features with labels to entries of results.json.

Imports `eval.scores`, `eval.sets` and `eval.tables`.
"""
