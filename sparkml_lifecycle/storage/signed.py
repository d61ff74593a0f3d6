"""A conditional put to S3, signed here: neither pyarrow nor delta-rs offers one for a single file."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.storage.options import is_true


def conditional_put(options: Mapping[str, str], bucket: str, path: str, data: bytes) -> bool | None:
    """Put an object with ``If-None-Match: *``: True if it was written, False if one was there, None if it cannot be tried.

    It cannot be tried without an access key (roles of the machine), or where the storage does not know the header.

    Parameters
    ----------
    options : mapping
        As delta-rs takes them.
    bucket, path : str
        The path begins with a slash.
    """
    if "AWS_SECRET_ACCESS_KEY" not in options:
        return None
    request = _signed_put(options, bucket, path, data)
    proxy = options.get("proxy_url")
    opener = build_opener(ProxyHandler({"http": proxy, "https": proxy})) if proxy else build_opener()
    shown = f"s3://{bucket}{path}"
    try:
        with opener.open(request, timeout=30):
            return True
    except HTTPError as error:
        error.close()
        if error.code in (409, 412):
            return False
        if error.code == 501:
            return None
        raise StorageError(f"Cannot write {shown!r}: the storage answered {error.code} {error.reason}.") from None
    except URLError as error:
        raise StorageError(f"Cannot write {shown!r}: {error.reason}.") from None


def _signed_put(options: Mapping[str, str], bucket: str, path: str, data: bytes) -> Request:
    """AWS Signature Version 4 (docs.aws.amazon.com, *Signature Version 4 signing process*)."""
    region = options.get("AWS_REGION", "us-east-1")
    virtual = is_true(options.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"))
    # with virtual hosts the options name the bucket's own endpoint
    endpoint = options.get("AWS_ENDPOINT_URL") or f"https://{f'{bucket}.' if virtual else ''}s3.{region}.amazonaws.com"
    host, path = urlsplit(endpoint).netloc, quote(path if virtual else f"/{bucket}{path}")
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(data).hexdigest()
    headers = {"host": host, "if-none-match": "*", "x-amz-content-sha256": digest, "x-amz-date": now}
    if token := options.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        ["PUT", path, "", *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest]
    )
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{options['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    credential = f"{options.get('AWS_ACCESS_KEY_ID', '')}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    del headers["host"]
    headers["content-type"] = "application/octet-stream"
    return Request(f"{endpoint.rstrip('/')}{path}", data=data, headers=headers, method="PUT")
