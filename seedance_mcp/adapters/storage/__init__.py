"""Storage: finished videos and given pictures where all replicas find them, under keys."""
