"""Jobs: polling, downloading and finding the videos that were paid for."""
