"""One file per contender. Each has `OPS`: for a program's name, a function of the inputs (NumPy arrays by name) that
returns a call without arguments, which computes once and returns the outputs."""
