"""Backbones, images -> features: one file a family, a subclass of `base.Backbone`; conf/backbone has a YAML a name."""
