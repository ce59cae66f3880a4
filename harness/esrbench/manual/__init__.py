"""The manual: pages of ``docs/``, their parts that are made from code, and topics of help."""
