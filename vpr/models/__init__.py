"""Networks that turn images into descriptors. Tensors only: no Hydra, Lightning, wandb, data sets or image files."""
