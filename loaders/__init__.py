"""Reads the dataset: shards in, batches out."""
