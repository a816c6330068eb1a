"""Reading any table of rows: streams, the line of an error, stratified splits."""
