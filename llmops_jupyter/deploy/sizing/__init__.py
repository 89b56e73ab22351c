"""How much a server carries: a load generator, what it measured, and how many replicas a load needs."""
