"""A report of one run or of several: from the table of trials to a page, text and pictures.

`build.py` puts the page together of the sections in sections/; figures.py and network.py draw.
"""
