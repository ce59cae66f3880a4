"""The steps of ``gpu_day.py``: one file measures one thing and gives rows of tables."""
