"""Rules on what runs, their states, who is told, golden sets, and looks on a schedule."""
