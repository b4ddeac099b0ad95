"""Defaults that several stages and the command line share. Numbers of the paper carry their section."""

MIN_IMAGES = 287  # per class; preprint, 2.1
MAX_IMAGES = 1000  # per class; preprint, 2.1
SHARD_SIZE_BYTES = 128 * 10**6  # large enough for fast sequential reading, small enough to fetch again
