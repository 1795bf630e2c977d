"""Arms and hands of half and full photos: which of them can move, and the sheets that move.

classify -> fit -> owner -> sheet -> limits, one file a stage; plan.py runs them for the builder.
"""
