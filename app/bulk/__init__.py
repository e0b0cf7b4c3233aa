"""Accounts in bulk: CSV files in and out, row by row the events that change what is stored."""
