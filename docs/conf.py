"""The site: ``sphinx-build -W docs site`` makes it of the pages of this folder."""

from esrbench import __version__

project = "esrbench"
author = "the authors of esrbench"
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["site"]
highlight_language = "none"  # of indented blocks, which are of all kinds
nitpicky = True

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

html_theme = "furo"
html_title = "esrbench"
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False
copybutton_prompt_text = "$ "
