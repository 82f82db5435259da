"""The connection to the API server: log in, send one request with a time-out, get bytes or a `ClusterError`.

The client library's typed calls are not used: its models reject fields they do not know, and a cluster may be newer
than the library. What is used is its transport and its login: kubeconfig, or the pod's service account, whose token it
reads again every minute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import config as login
from kubernetes.aio.client import ApiClient, Configuration

from lockgate.api.failures import Call, no_answer, refusal
from lockgate.errors import InvalidConfiguration

__all__ = ["ApiServer", "Credentials"]

CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What another client needs to reach the same server; certificates are paths of files."""

    server: str
    ca_path: str | None
    token: str | None = field(repr=False)
    certificate_path: str | None
    private_key_path: str | None
    insecure: bool


class ApiServer:
    """One API server and who we are to it."""

    def __init__(self, configuration: Configuration) -> None:
        # Neither this client nor kopf's takes HTTP_PROXY from the environment: the API server is inside the cluster.
        configuration.client_session_kwargs = {"trust_env": False}
        self._configuration = configuration
        self._client = ApiClient(configuration)
        self._client.user_agent = "lockgate-operator"

    @classmethod
    async def connect(cls, kubeconfig: str | None = None) -> ApiServer:
        """Log in with ``kubeconfig``, else with the pod's service account, else with $KUBECONFIG or ~/.kube/config.

        Sends nothing yet. Raises InvalidConfiguration where there is neither.
        """
        configuration = Configuration()
        try:
            if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                login.load_incluster_config(configuration)  # type: ignore[no-untyped-call] # the library's
            else:
                await login.load_kube_config(  # type: ignore[no-untyped-call] # the library's
                    config_file=kubeconfig, client_configuration=configuration, persist_config=False
                )
        except (login.ConfigException, OSError) as error:
            raise InvalidConfiguration(
                f"No way to log in to the API server: {error}",
                advice="Run in a pod with a service account, or name a kubeconfig with --kubeconfig or $KUBECONFIG.",
            ) from error
        return cls(configuration)

    @property
    def address(self) -> str:
        """URL of the server."""
        return str(self._configuration.host)

    async def credentials(self) -> Credentials:
        """Return what is needed to log in right now. May be called from any thread and loop, and more than once."""
        known = self._configuration
        header: str | None = await known.get_api_key_with_prefix("BearerToken", alias="authorization")
        return Credentials(
            server=self.address,
            ca_path=known.ssl_ca_cert,
            token=header.split(" ", 1)[-1].strip() if header else None,
            certificate_path=known.cert_file,
            private_key_path=known.key_file,
            insecure=not known.verify_ssl,
        )

    async def send(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: dict[str, Any] | list[Any] | str | None = None,
        content_type: str = "application/json",
        timeout: float,
    ) -> bytes:
        """Send one request and return the answer's body. ``timeout`` is for all of it, in seconds."""
        url = path + ("?" + urlencode(query, quote_via=quote) if query else "")
        try:
            request = await self._client.param_serialize(
                method,
                url,
                header_params={"Accept": "application/json, */*", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(
                *request,
                _request_timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(CONNECT_SECONDS, timeout)),
            )
            content: bytes = await answer.read()  # type: ignore[no-untyped-call] # the library's
        except TimeoutError as error:
            raise no_answer(call, self.address, f"no answer within {timeout:g} s") from error
        except (aiohttp.ClientError, OSError, login.ConfigException) as error:
            raise no_answer(call, self.address, f"no connection ({type(error).__name__})") from error
        if not 200 <= answer.status <= 299:
            raise refusal(call, answer.status, content, answer.headers.get("Retry-After"))
        return content

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call] # the library's
