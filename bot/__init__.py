"""What people touch: Slack, the web pages and the command line."""
