"""Commands of the command line that need this room; `compiler/cli.py` names them."""
