"""The pages: what a run did, and whether the service is well."""
