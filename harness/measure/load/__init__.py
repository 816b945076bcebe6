"""Stated loads on a target: when each request was due, sent, begun and ended, and what that did to those who wait."""
