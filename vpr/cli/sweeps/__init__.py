"""Sweeps: each job is a process of its own, with `job.json` beside its results, run once and resumed if interrupted.

Jobs are told apart by `vpr.cli.run_names.identity`, a hash of their configuration.
"""
