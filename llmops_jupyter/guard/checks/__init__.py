"""The checks, one module each; `guard.named` knows them by name and imports what a policy uses."""
