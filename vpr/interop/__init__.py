"""Importers: checkpoints that other projects published, told by the names of their tensors, become ones of ours.

`opener.py` opens model files of any kind: ours, published, exported.
"""
