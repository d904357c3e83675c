"""What a scheduled program costs: bytes at every level, issue, time. `model.analyse` is the way in."""
