"""The server dies at a named point; the books must still be right."""
