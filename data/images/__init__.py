"""Images: lists of files, decoding, random variants."""
