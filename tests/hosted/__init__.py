"""The hosted mode as a whole: several replicas as processes, with a real database, while parts of it are killed."""
