"""What Slack delivers, handed to the engine."""
