"""A person at a host, who answers its questions."""

from typing import Any, Literal

from mcp.types import ElicitResult

Action = Literal["accept", "decline", "cancel"]


class Person:
    """Answers the questions that a host shows, and remembers them."""

    def __init__(self, action: Action, approve: bool | None = None) -> None:
        self.questions: list[str] = []
        self._answer = ElicitResult(action=action, content=None if approve is None else {"approve": approve})

    async def __call__(self, _context: Any, params: Any) -> ElicitResult:
        self.questions.append(params.message)
        return self._answer
