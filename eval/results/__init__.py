"""The results of an evaluation: a score, and the document `results.json` that contains all of them.

Imports `eval.scores`.
"""
