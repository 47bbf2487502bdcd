"""The studio's HTTP client."""
