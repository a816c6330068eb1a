"""The sections of a report, a file each or for a few; `report/build.py` puts them in order."""
