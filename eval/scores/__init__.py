"""One score or test a module: accuracy, intervals, paired tests, neighbours, mean average precision, probe, controls.

Arrays in, numbers out. Imports the ground only.
"""
