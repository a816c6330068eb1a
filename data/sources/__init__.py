"""Finding a dataset: the catalogue, your folder, the cache, downloads, archives."""
