"""Runs and refusals as Slack shows them. Pure: records in, blocks out."""
