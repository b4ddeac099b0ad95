"""From publishers' folders to one catalogue: one frozen record per source (40 of them) and the readers they share.

May import the ground only.
"""
