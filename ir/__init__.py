"""The three forms of a program: index notation (`op`), the scheduled form (`gir`) and the instruction graph (`graph`).

This room imports nothing else of weft.
"""
