"""Damaged images: what would a bundle catch?"""
