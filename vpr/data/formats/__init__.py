"""Readers of published layouts, one file each: plain arguments to `Places`, `RetrievalSet` or `GeotaggedImages`.

A new layout is one file here and one YAML in conf/dataset. `folders` and `place_lists` hold what several readers need.
"""
