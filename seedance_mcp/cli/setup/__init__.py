"""The guided set-up: hosts, wallet, limits, money, checks and a first price, each of which can be skipped."""
