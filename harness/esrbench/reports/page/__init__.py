"""The page to publish: one HTML file that needs nothing else."""

from esrbench.reports.page.contents import own_records as own_records
from esrbench.reports.page.page import report_page as report_page
from esrbench.reports.page.pictures import copy_images as copy_images
from esrbench.reports.page.site import site_pages as site_pages
