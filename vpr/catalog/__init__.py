"""Data sets by name: resolves names of conf/dataset to readers, and says what is there (`python -m vpr.catalog`).

May know Hydra and the configuration; reads no image file itself.
"""
