"""Settling a flash sale: holds that are paid, given back or too late; units offered again; orders for the shop."""
