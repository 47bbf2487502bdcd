"""The gallery: a local page of videos and money, for the person who owns the wallet.

Reads the ledger and the saved files, and nothing else: no key, no network, no studio. Prompts and the studio's words
are a untrusted; they reach the page as JSON and are set as text, under a policy that allows no script but ours.
"""
