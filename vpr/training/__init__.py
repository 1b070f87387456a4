"""Training: a run from its configuration, its data, its teachers, its callbacks, and its summary.

The only room that imports Lightning. `run.py` and `clusters.py` alone take a configuration; below them are values.
"""
