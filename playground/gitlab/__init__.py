"""A GitLab on loopback: API v4, git over smart HTTP, and pipelines that really run."""
