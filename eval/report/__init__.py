"""The report: tables, plots and an HTML page made from `results.json`.

Imports `eval.results` and `builder.pages`.
"""
