"""The report: tables, plots and an HTML page written from `results.json`.

Imports `eval.results`, `eval.tasks` and `builder.pages`.
"""
