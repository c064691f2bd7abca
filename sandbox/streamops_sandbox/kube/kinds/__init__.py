"""What Kubernetes' own kinds do beyond their schema: defaults, rules, side effects."""
