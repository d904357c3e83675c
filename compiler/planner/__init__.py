"""Choose plans: which definitions share a kernel, where loops run, what lies across lanes, what is packed."""

from .choices import Choices
from .plan import make_plan

__all__ = ["Choices", "make_plan"]
