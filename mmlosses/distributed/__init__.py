"""Classes that are sharded over the ranks of a distributed training."""
