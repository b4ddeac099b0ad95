"""From publishers' folders to one catalogue: 40 sources, one frozen record each, and the few readers they share.

Imports the ground only.
"""
