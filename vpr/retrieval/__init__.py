"""Retrieval: descriptors of images, their nearest neighbours, and what that is worth."""

import logging

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports each instruction set that it tries
