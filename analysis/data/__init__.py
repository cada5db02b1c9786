"""Logs and runs as an analysis reads them: dialogues, decisions, views, text, export."""
