"""What a run is judged by: names that are checked before Ray starts, and the front afterwards."""
