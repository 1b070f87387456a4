"""Command line and configuration: compose, check, run, sweep.

Rule: knows Hydra, imports no torch; below cli, catalog, training and evaluation nothing takes a configuration.
"""
