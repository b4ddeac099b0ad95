"""Small simulated copies of the three evaluation sets, in their true layouts, for the demo, tests and benchmarks.

Imports `builder.simulate`.
"""
