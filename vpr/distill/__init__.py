"""Distillation: frozen teachers, terms that compare the student with them (`terms/`), and the distiller of both.

Knows no Lightning, no configuration and no data set; training/distillation.py makes the parts of a run.
"""
