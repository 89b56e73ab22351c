"""Safety policies around what goes into a model, what it is given to read, and what it answers."""
