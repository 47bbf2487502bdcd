"""Where an OAuth client of a test keeps its tokens."""

from mcp.shared.auth import OAuthClientInformationFull, OAuthToken


class Storage:
    """The SDK's `TokenStorage`, in memory.

    Attributes:
        tokens: The latest tokens, or None.
        client: What a registration answered, or None.
    """

    def __init__(self, tokens: OAuthToken | None = None) -> None:
        self.tokens = tokens
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info
