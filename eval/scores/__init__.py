"""One score or test per module: accuracy, intervals, paired tests, neighbours, mean average precision, probe, controls.

Arrays in, numbers out. Imports the ground of `builder` only.
"""
