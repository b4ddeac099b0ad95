"""Build the dataset: from raw sources, or from the published archive, to a finished dataset folder.

The packages below follow the pipeline: `sources`, `labels`, `curate` (with `images` and `formats`), `shards`, `pages`.
`dataset` reads a finished folder, `hf` connects it to the Hugging Face libraries, `archive` imports the published
archive, `simulate` writes small sources in the true layouts. Nothing here imports `loaders`, `training`, `eval`, torch.
Every module may import the ground: `errors`, `progress`, `console`, `storage`, `schema`, `defaults`, `versions`,
`resume`, `seeded`.
"""
