"""Data: files to uint8 images and positions; `formats/` holds the published layouts, one file each.

Knows no model, no configuration and no Hydra: a reader takes plain arguments, which are keys of conf/dataset.
"""
