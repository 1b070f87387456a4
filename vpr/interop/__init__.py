"""Importers: checkpoints that other projects published, told by the names of their tensors, become ones of ours."""
