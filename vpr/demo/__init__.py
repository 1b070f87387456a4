"""The demo: places of photos, by a place index, as files, pictures and a page. Takes plain values, no Hydra config."""
