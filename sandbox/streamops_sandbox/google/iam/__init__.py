"""IAM and IAM Service Account Credentials: accounts, policies, principals."""
