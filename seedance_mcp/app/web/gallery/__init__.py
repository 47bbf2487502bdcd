"""The gallery: a local page of videos and money, for the person who owns the wallet.

Reads the ledger and the saved files, and asks the chains for the wallet's balance: no key, no studio. It buys nothing.
Prompts and the studio's words are untrusted; they reach the page as JSON and are set as text, under a policy that
allows no script but ours.
"""
