"""Train a config with several losses and seeds, and rank the losses."""
