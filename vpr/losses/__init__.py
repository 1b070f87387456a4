"""Losses, (descriptors (N, D) float32, labels (N,)) or (anchors, positives, negatives) -> `LossResult`, and objectives.

A loss sees the global batch: an objective gathers it from all ranks. Knows no Lightning and no configuration.
"""
