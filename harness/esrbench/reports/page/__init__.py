"""The page to publish: one HTML file that needs nothing else."""

from esrbench.reports.page.page import report_page as report_page
