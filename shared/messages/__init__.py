"""Every message on the bus: versioned pydantic models, and the packed ticks.

Importing this package registers all types, so that any entry can be decoded.
"""

from shared.messages import account, control, market, orders, requests
from shared.messages.base import REGISTRY, Message
from shared.messages.codec import Envelope, decode_fields, encode_fields

__all__ = [
    "REGISTRY",
    "Envelope",
    "Message",
    "account",
    "control",
    "decode_fields",
    "encode_fields",
    "market",
    "orders",
    "requests",
]
