"""Generation: from a request to a paid job: images, prices, quotes and the purchase."""
