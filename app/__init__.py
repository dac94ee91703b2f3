"""Mafu 码付: scan-to-pay that merchants host themselves."""
