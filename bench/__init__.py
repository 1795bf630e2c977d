"""How long every stage of a frame takes here, and how that compares with what one would write first."""

from bench.frame import run

__all__ = ["run"]
