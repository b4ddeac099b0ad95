"""Simulated publishers, cells and curated folders: input for tests, the demo and benchmarks.

May import the ground and `sources`. Only `eval.demo`, `eval.simulate`, tests and benchmarks may import it.
"""
