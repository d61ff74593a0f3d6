"""The options of each kind of storage: how users, delta-rs, the environment and Spark name them, in one table.

Options live in memory only: no file, tag, ``repr``, error or log shows them.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, did_you_mean

Options = tuple[tuple[str, str], ...]
SINGLE_WRITER = "single_writer"


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    name : str
        As users write it.
    delta : str
        As delta-rs names it, which users may write too; options are kept under this name.
    environment : tuple of str
        Where it is looked for, in this order, when it is not given.
    also : tuple of str
        Other names that people bring along.
    spark : str
        Hadoop's key for it; ``{account}`` stands for the host of an Azure account.
    """

    name: str
    delta: str
    environment: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    spark: str = ""


# what the libraries themselves read from the environment (Google's and Azure's identities, Hadoop's conf) is not read here
TABLE: dict[str, tuple[Option, ...]] = {
    "s3": (
        Option("access_key_id", "AWS_ACCESS_KEY_ID", ("AWS_ACCESS_KEY_ID",), ("key", "access_key"), "fs.s3a.access.key"),
        Option("secret_access_key", "AWS_SECRET_ACCESS_KEY", ("AWS_SECRET_ACCESS_KEY",), ("secret", "secret_key"), "fs.s3a.secret.key"),
        Option("session_token", "AWS_SESSION_TOKEN", ("AWS_SESSION_TOKEN",), ("token",), "fs.s3a.session.token"),
        Option("region", "AWS_REGION", ("AWS_REGION", "AWS_DEFAULT_REGION"), ("default_region", "region_name"), "fs.s3a.endpoint.region"),
        Option("endpoint_url", "AWS_ENDPOINT_URL", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
               ("endpoint", "endpoint_url_s3", "endpoint_override"), "fs.s3a.endpoint"),
        Option("allow_http", "AWS_ALLOW_HTTP", ("AWS_ALLOW_HTTP",)),
        Option("virtual_hosted_style_request", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
               ("force_virtual_addressing",)),
    ),
    # pyarrow takes no service account: both libraries read GOOGLE_APPLICATION_CREDENTIALS, or ask the machine
    "gs": (
        Option("endpoint_url", "GOOGLE_BASE_URL", (), ("endpoint",), "fs.gs.storage.root.url"),
        Option("anonymous", "GOOGLE_SKIP_SIGNATURE"),
    ),
    "abfss": (
        Option("account_key", "AZURE_STORAGE_ACCOUNT_KEY", ("AZURE_STORAGE_ACCOUNT_KEY",), ("storage_account_key",), "fs.azure.account.key.{account}"),
        Option("sas_token", "AZURE_STORAGE_SAS_TOKEN", ("AZURE_STORAGE_SAS_TOKEN",), ("storage_sas_token",), "fs.azure.sas.fixed.token.{account}"),
        Option("client_id", "AZURE_STORAGE_CLIENT_ID", (), ("azure_client_id",), "fs.azure.account.oauth2.client.id.{account}"),
        Option("client_secret", "AZURE_STORAGE_CLIENT_SECRET", (), ("azure_client_secret",), "fs.azure.account.oauth2.client.secret.{account}"),
        Option("tenant_id", "AZURE_STORAGE_TENANT_ID", (), ("azure_tenant_id",)),
        Option("endpoint_url", "AZURE_STORAGE_ENDPOINT", ("AZURE_STORAGE_ENDPOINT",), ("endpoint",)),
    ),
    "hdfs": (),
    "viewfs": (),
    "file": (),
}  # fmt: skip
_PREFIX = {"s3": "AWS_", "gs": "GOOGLE_", "abfss": "AZURE_"}
# of delta-rs' HTTP client, whatever the storage; pyarrow is told of the proxy
_CLIENT = ("timeout", "connect_timeout", "proxy_url", "allow_http", "allow_invalid_certificates", "max_retries")
_HADOOP = ("dfs.", "fs.", "hadoop.", "ipc.")


def normal(scheme: str, given: Mapping[str, str]) -> Options:
    """The options under delta-rs' names, sorted.

    Raises
    ------
    InvalidInput
        For an option that this storage does not have: a misspelt key would else leave the machine's own role in charge.
    """
    known = {
        spelling.lower(): option.delta
        for option in TABLE[scheme]
        for spelling in (option.name, option.delta, *option.also)
    }
    return tuple(sorted((_normal_name(scheme, key, known), str(value)) for key, value in given.items()))


def _normal_name(scheme: str, key: str, known: Mapping[str, str]) -> str:
    lower, prefix = key.lower(), _PREFIX.get(scheme, "")
    for spelling in (lower, lower.removeprefix(prefix.lower())):
        if spelling in known:
            return known[spelling]
    if lower in (SINGLE_WRITER, *_CLIENT):
        return lower
    if (prefix and lower.startswith(prefix.lower())) or (scheme in ("hdfs", "viewfs") and lower.startswith(_HADOOP)):
        # delta-rs knows more options than are in the table
        return key.upper() if prefix else key
    names = [option.name for option in TABLE[scheme]]
    raise InvalidInput(
        f"The storage option {key!r} is not one of {scheme}:. Allowed: {', '.join([*names, SINGLE_WRITER, *_CLIENT])}"
        f"{f', and delta-rs {prefix}*' if prefix else ', and Hadoop dfs.* and fs.*' if scheme in ('hdfs', 'viewfs') else ''}."
        f"{did_you_mean(lower, names)}"
    )


def effective(scheme: str, options: Options) -> dict[str, str]:
    """The options with what the environment adds, under delta-rs' names; ours taken out."""
    found = {name: value for name, value in options if name != SINGLE_WRITER}
    for option in TABLE[scheme]:
        said = [os.environ[name] for name in option.environment if os.environ.get(name)]
        if said:
            found.setdefault(option.delta, said[0])
    if scheme == "s3" and "AWS_ENDPOINT_URL" in found:
        found.setdefault("AWS_REGION", "us-east-1")
    return found


def for_delta(scheme: str, host: str, options: Options) -> dict[str, str]:
    """The ``storage_options`` that delta-rs takes."""
    found = effective(scheme, options)
    if scheme == "s3":
        endpoint = found.get("AWS_ENDPOINT_URL", "")
        if endpoint.startswith("http://"):
            found["AWS_ALLOW_HTTP"] = "true"
        if endpoint and is_true(found.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST")):
            # with virtual hosts delta-rs wants the bucket in the endpoint
            parts = urlsplit(endpoint)
            found["AWS_ENDPOINT_URL"] = f"{parts.scheme}://{host}.{parts.netloc.removeprefix(f'{host}.')}{parts.path}"
    if scheme == "gs":
        found = _google(found)
    if scheme == "abfss":
        found["AZURE_STORAGE_ACCOUNT_NAME"] = account(host)
        endpoint = found.get("AZURE_STORAGE_ENDPOINT", "")
        if endpoint:
            found["AZURE_STORAGE_ENDPOINT"] = _account_url(endpoint, account(host))
            if endpoint.startswith("http://"):
                found["allow_http"] = "true"
    return found


def for_spark(scheme: str, host: str, options: Options) -> dict[str, str]:
    """The reader's and writer's options (Hadoop's keys) for what was given; the environment is Hadoop's own to read."""
    given = dict(options)
    place = host.partition("@")[2]
    found = {
        option.spark.format(account=place): given[option.delta]
        for option in TABLE[scheme]
        if option.spark and option.delta in given
    }
    if scheme == "s3" and "AWS_ENDPOINT_URL" in given:
        virtual = is_true(given.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"))
        found["fs.s3a.path.style.access"] = str(not virtual).lower()
        found["fs.s3a.connection.ssl.enabled"] = str(not given["AWS_ENDPOINT_URL"].startswith("http://")).lower()
    if scheme == "abfss" and "AZURE_STORAGE_SAS_TOKEN" in given:
        found[f"fs.azure.account.auth.type.{place}"] = "SAS"
    if scheme == "abfss" and "AZURE_STORAGE_CLIENT_SECRET" in given:
        tenant = given.get("AZURE_STORAGE_TENANT_ID", "")
        found[f"fs.azure.account.auth.type.{place}"] = "OAuth"
        found[f"fs.azure.account.oauth.provider.type.{place}"] = (
            "org.apache.hadoop.fs.azurebfs.oauth2.ClientCredsTokenProvider"
        )
        found[f"fs.azure.account.oauth2.client.endpoint.{place}"] = (
            f"https://login.microsoftonline.com/{tenant}/oauth2/token"
        )
    return {**found, **{name: value for name, value in given.items() if name.startswith(_HADOOP)}}


def reach(options: Options, home: str, other: str) -> Options:
    """Of the options of the storage ``home`` those that may be used for ``other``.

    They go to the same kind of storage; in Azure only to the same account, for a token is sent to whatever host the URI names.
    """
    (scheme, host, _), (kind, there, _) = uris.split(home), uris.split(other)
    if scheme != kind or (scheme == "abfss" and host.partition("@")[2] != there.partition("@")[2]):
        return ()
    return options


def account(host: str) -> str:
    """The Azure account in ``container@account.dfs.core.windows.net``."""
    return host.partition("@")[2].partition(".")[0]


def is_true(value: str | None) -> bool:
    """Whether an option says yes."""
    return (value or "").lower() in ("true", "1", "yes", "on")


def redacted(text: str) -> str:
    """A library's message without what a URL says after its host and path: signatures and tokens stand there."""
    without_query = re.sub(r"(\w+://[^\s?'\"<>]*)\?[^\s'\"<>]*", r"\1", text)
    return re.sub(r"(\w+://)[^\s/@'\"<>]+:[^\s/@'\"<>]+@", r"\1", without_query)


_CODE = re.compile(r"<Code>(\w+)</Code>(?:<Message>([^<]{1,200})</Message>)?")


def said(error: BaseException) -> str:
    """What a library's error says, in one line: its own first, without what may be secret, and the storage server's reason."""
    lines = str(error).splitlines() or [""]
    server = _CODE.search(str(error))
    why = f" ({': '.join(part for part in server.groups() if part)})" if server else ""
    return f"{redacted(lines[0])[:300]}{why}"


def _google(found: dict[str, str]) -> dict[str, str]:
    endpoint, nobody = found.pop("GOOGLE_BASE_URL", ""), is_true(found.pop("GOOGLE_SKIP_SIGNATURE", None))
    if endpoint and "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    if endpoint.startswith("http://"):
        found["allow_http"] = "true"
    if nobody or endpoint:
        # delta-rs takes both of these from a service account only
        key = json.loads(found.get("GOOGLE_SERVICE_ACCOUNT_KEY", "{}"))
        nobody_at_all = (
            {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True} if nobody else {}
        )
        key = {**nobody_at_all, **key, **({"gcs_base_url": endpoint} if endpoint else {})}
        found["GOOGLE_SERVICE_ACCOUNT_KEY"] = json.dumps(key)
    return found


def _account_url(endpoint: str, name: str) -> str:
    parts = urlsplit(endpoint)
    if parts.netloc.startswith(f"{name}.") or parts.path.strip("/") == name:
        return endpoint.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}/{name}"
