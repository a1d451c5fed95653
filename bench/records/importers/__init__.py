"""Results from elsewhere: published by others, scored by lm-eval alone, or made on several
machines.
"""
