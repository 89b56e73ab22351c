"""What calls of models take, how much of it they may, and figures that went up."""
