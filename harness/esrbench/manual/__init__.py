"""The manual: pages of ``docs/``, what they have from code, and what one topic is."""
