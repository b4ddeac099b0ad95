"""From the catalogue to a weakly labelled selection: give each row at most one class, and downsample large classes.

Imports the ground only.
"""
