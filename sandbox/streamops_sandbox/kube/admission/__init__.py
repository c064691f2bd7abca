"""Admission: what every API server's plugins change in a write, or refuse.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""
