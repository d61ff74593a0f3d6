"""Second evaluators: models scored faster than by the frameworks that trained them, verified against them."""
