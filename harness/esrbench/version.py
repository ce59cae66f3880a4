"""The version of esrbench: the only place that says it.

It is read from here, not from an installation's metadata: those of an editable installation keep
the version that it was installed with.
"""

__version__ = "0.2.0"
