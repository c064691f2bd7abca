"""Programs of net-kourier: the ingress controller and its gateway."""
