"""The picture picker: a local page on which a person gives a picture that a model cannot name."""
