"""Training by recipes. The resulting weights can be measured at once."""
