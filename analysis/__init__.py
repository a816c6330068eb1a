"""Finds out what a search or a model learned, and shows it.

effects/ estimates what each hyperparameter did; report/ makes the page of a run; search_plots draws
the picture of a search; vectors/ looks into word vectors and factors; word_importance tells which
words moved a classifier; tensorboard/ writes TensorBoard's files; reference has published results.
"""
