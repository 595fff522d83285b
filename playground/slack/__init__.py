"""A Slack workspace on loopback: its Web API, Socket Mode and signed HTTP deliveries."""
