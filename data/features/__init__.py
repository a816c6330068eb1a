"""Features of images: backbones, the job that computes them with Ray Data, shards, sets."""
