"""Aggregators, features -> descriptors: one file each, with a YAML in conf/agg; the contract is `Describer`'s."""
