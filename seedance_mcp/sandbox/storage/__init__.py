"""The sandbox's blob store and media files."""
