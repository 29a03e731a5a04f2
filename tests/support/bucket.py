"""Files on S3: moto's server, where other machines may reach it."""

import contextlib
import logging
import urllib.request
from dataclasses import dataclass

import boto3
import pytest
from moto.server import ThreadedMotoServer


@dataclass
class Bucket:
    """The bucket `cars`: the settings that lead there, and a client."""

    settings: dict[str, str]
    client: object

    def put(self, name: str, content: bytes) -> None:
        """Write a file that a browser may read too."""
        self.client.put_object(Bucket="cars", Key=name, Body=content, ACL="public-read")

    def parts(self, folder: str) -> list[str]:
        """Return the names of the files below a folder."""
        found = self.client.list_objects_v2(Bucket="cars", Prefix=f"{folder}/")
        return sorted(each["Key"] for each in found.get("Contents", []))

    def read(self, folder: str) -> list[bytes]:
        """Return the contents of the files below a folder."""
        get = self.client.get_object
        return [get(Bucket="cars", Key=key)["Body"].read() for key in self.parts(folder)]


@contextlib.contextmanager
def bucket(host: str = "127.0.0.1"):
    """Serve an empty bucket on an address of this machine."""
    logging.getLogger("werkzeug").setLevel("ERROR")  # no line for each request
    server = ThreadedMotoServer(host, 0, verbose=False)
    server.start()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{server.get_host_and_port()[1]}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key-4411",
        "AWS_SECRET_ACCESS_KEY": "secret-4411",
    }
    # moto's servers of one process share their buckets, and keep them when they stop
    urllib.request.urlopen(f"{settings['AWS_ENDPOINT_URL']}/moto-api/reset", data=b"").close()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
    client.create_bucket(Bucket="cars")
    try:
        yield Bucket(settings, client)
    finally:
        server.stop()
