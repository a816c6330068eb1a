"""A report of one run or of several: from the table of trials to a page, text and pictures."""
