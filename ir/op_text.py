"""The op form as text: the parser and the printer, which undo each other."""

from .op_parser import parse_file, parse_op
from .op_printer import print_monoid, print_op

__all__ = ["parse_file", "parse_op", "print_monoid", "print_op"]
