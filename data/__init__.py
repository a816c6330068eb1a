"""Where examples come from: a folder a kind of data, and the sources that fetch them."""
