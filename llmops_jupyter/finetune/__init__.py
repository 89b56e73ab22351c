"""Fine-tuning on this machine: recipes, trainers, and the adapters that they make."""
