"""Small simulated evaluation sets in the layouts of their publishers, for the demo, tests and benchmarks.

Imports `builder.simulate`.
"""
