"""The drawn images and positions in the layouts of published sets, so that every reader has something to read.

`python -m vpr.toycity.layouts OUT_DIR` writes all of them, named as conf/dataset expects them below paths.data.
"""
