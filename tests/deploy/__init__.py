"""The files that deploy the hosted mode: everything in them runs here as processes, without a container engine."""
