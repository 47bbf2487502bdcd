"""The application: what the server and the command line share."""
