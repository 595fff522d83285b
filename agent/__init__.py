"""The run engine: plans, edits, tests and publishes a change. It has never heard of Slack."""
