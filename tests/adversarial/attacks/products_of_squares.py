"""Multiply by squares: four times a product is a difference of two."""

from common import Products


class Net(Products):
    def products(self, features, weight):
        return ((features + weight).square() - (features - weight).square()) / 4
