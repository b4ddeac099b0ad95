"""The results of an evaluation: one score, and the document `results.json` that keeps them.

Imports `eval.scores`.
"""
