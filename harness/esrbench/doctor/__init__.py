"""Finds what on this machine disturbs measuring, and how to mend it.

Each check is a small function that reads what the system tells and returns a ``Diagnosis``; where
the system does not tell, as in containers or on macOS, it says ``unknown``.
"""

from esrbench.doctor.check import Machine
from esrbench.doctor.examination import examine

__all__ = ["Machine", "examine"]
