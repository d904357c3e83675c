"""The search over alternatives and plans, and what is told of it. `best_first.search` is the way in."""
