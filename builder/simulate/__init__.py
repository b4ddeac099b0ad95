"""Simulated publishers, cells and curated folders: input for tests, the demo and benchmarks.

May import the ground, `formats` and `sources`. Only `eval.demo`, `eval.simulate`, tests and benchmarks may import it.
"""
