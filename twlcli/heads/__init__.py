"""Linear heads over fixed features, found to convergence."""
