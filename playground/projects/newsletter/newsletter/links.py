"""Links that a reader gets by mail, good for a while and for one address."""

from itsdangerous import BadSignature, TimedJSONWebSignatureSerializer

DAY = 24 * 60 * 60


def confirmation(secret: str, address: str, base: str) -> str:
    signer = TimedJSONWebSignatureSerializer(secret, expires_in=2 * DAY)
    token = signer.dumps({"address": address}).decode()
    return f"{base}/confirm/{token}"


def confirmed(secret: str, link: str):
    """The address that the link was made for; None when it was tampered with or is too old."""
    signer = TimedJSONWebSignatureSerializer(secret)
    try:
        return signer.loads(link.rsplit("/", 1)[-1])["address"]
    except BadSignature:
        return None
