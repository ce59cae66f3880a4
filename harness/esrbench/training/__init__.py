"""Training by recipes: data in, weights out that go straight into the benchmark."""
