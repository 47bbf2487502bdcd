"""Valid generate bodies, which tests change one field at a time."""

from typing import Any

SEEDANCE = "/api/generate/seedance/i2v"
SEEDANCE_FAST = "/api/generate/seedance-fast/i2v"
UPLOAD = {"filename": "picture.png", "contentType": "image/png", "size": 70}


def write_classic(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "prompt": "a boat leaves the harbour",
        "image": url,
        "duration": "4",
        "resolution": "480p",
        "aspect_ratio": "16:9",
        **changes,
    }


def write_current(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "prompt": "a boat leaves the harbour",
        "duration": "4",
        "aspectRatio": "16:9",
        "outputResolution": "480p",
        "mode": "keyframe",
        "urls": [url],
        "urlMediaTypes": ["image"],
        **changes,
    }
