"""Several processes that train one model: alone (`ray_train`), or as a trial of a search."""
