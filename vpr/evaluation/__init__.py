"""Evaluation beside plain recall, as evaluate.py, the demo and the report configure it: PCA, gallery, calibration.

May import catalog and retrieval; reads configurations.
"""
