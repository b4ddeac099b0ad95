"""Scores features on three transfer tasks whose images are not used in training.

`sets` reads the files of the evaluation sets, `tables` those of features, `features` computes features of networks.
`protocols` scores features with `scores`; `tasks` describes each task as one record; `results` and `report` present the
scores. Imports `builder`, `loaders` and `training`; only `demo` and `simulate` import `builder.simulate`.
"""
