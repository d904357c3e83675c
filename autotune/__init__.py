"""Measuring: which of the plans that the search ranks is fastest here.

tune -> candidates -> measure (a worker process, killed where it misbehaves) -> records -> `weft.compile` looks them up
"""
