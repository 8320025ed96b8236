"""Whether a result is ever reused wrongly, or computed anew without need.

Not tested here: another GPU or driver (what `pipeline.machine` says of them is changed instead, and
the figure of an engine is not); another Python (its number is changed); a file system whose times
are coarser than 2 s; Windows, which has no time of change.
"""
