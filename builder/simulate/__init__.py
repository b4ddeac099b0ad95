"""Small simulated sources in the publishers' true layouts, for the demo, tests and benchmarks.

Imports the ground and `sources`. Only `eval.demo`, `eval.simulate`, tests and benchmarks import it.
"""
