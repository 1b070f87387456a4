"""Export of a describer to files that run without torch: the graph, int8, what that costs, the folder that is shipped.

Takes plain values; lies above retrieval, by which it measures the files that it wrote.
"""
