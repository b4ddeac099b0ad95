"""From the catalogue to a weakly labelled selection: assign one class to each row, and downsample large classes.

Imports the ground only.
"""
