"""Retrieval: extraction of descriptors, search, and recall; and what is fitted to descriptors: PCA and calibration.

Takes an `Extractor`, never a configuration. May import data, models, checkpoint and interop.
"""

import logging

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports each instruction set that it tries
