"""Students for a budget: candidates are measured, distilled briefly and compared with their teacher without labels.

The best is trained fully. Every training is an ordinary run of train.py in a process of its own.
"""
