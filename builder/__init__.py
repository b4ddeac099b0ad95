"""Makes the dataset: raw sources in, curated and verified shards out. Knows nothing of torch."""
