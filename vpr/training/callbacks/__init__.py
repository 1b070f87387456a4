"""Callbacks of a run: evaluation, checkpoints, throughput, bad images. They know Lightning and no configuration."""
