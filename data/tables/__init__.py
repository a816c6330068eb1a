"""Tables of rows, of any family: encodings, streams, the line of an error, stratified splits."""
