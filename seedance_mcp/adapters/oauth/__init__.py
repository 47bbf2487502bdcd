"""OAuth: the authorization server whose tokens are accepted, its keys, and the check of a token."""
