"""Trains an image classifier on the dataset."""
