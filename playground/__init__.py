"""The world outside on one machine: stand-ins for Slack, GitLab and a model that speak the real protocols."""
