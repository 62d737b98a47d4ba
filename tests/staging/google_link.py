"""Compares a link of `akool-stage` to Google Cloud Storage with one that Google's own library signs.

google_link.py PROGRAM FOLDER: PROGRAM is the example `link`, FOLDER is for the key and the files.
"""
import datetime, hashlib, json, os, pathlib, subprocess, sys
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.storage._signing import generate_signed_url_v4
from google.oauth2 import service_account

program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
encoding = serialization.Encoding.PEM
form = serialization.PrivateFormat.TraditionalOpenSSL
pem = key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
info = {
    "type": "service_account",
    "private_key": pem,
    "private_key_id": "1",
    "client_email": "me@example.com",
    "client_id": "1",
    "token_uri": "http://127.0.0.1:1/token",
}
account = folder / "account.json"
account.write_text(json.dumps(info))
credentials = service_account.Credentials.from_service_account_info(info)
for name in ["talk.mp4", "100% ünï.mp4", "a%20b+c&d=e.mp4", "日本語 (1).mp4", "~'quotes'!;,@$.mp4", "#1.mp4"]:
    file = folder / name
    file.write_bytes(b"video")
    environment = os.environ | {"GOOGLE_SERVICE_ACCOUNT": str(account)}
    link = subprocess.check_output([program, "gs://bucket/videos-1", str(file)], env=environment, text=True).strip()
    parts = urlsplit(link)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    digits = hashlib.sha256(b"video").hexdigest()[:32]
    plain = "".join(letter if letter.isascii() and letter.isalnum() or letter in "-._" else "_" for letter in name)
    assert parts.path == f"/bucket/videos-1/{digits}/{plain}", link
    assert query["X-Goog-Expires"] == "86400", link
    expected = generate_signed_url_v4(
        credentials,
        resource=parts.path,
        expiration=datetime.timedelta(seconds=86400),
        api_access_endpoint="https://storage.googleapis.com",
        _request_timestamp=query["X-Goog-Date"],
    )
    expected = parse_qs(urlsplit(expected).query)["X-Goog-Signature"][0]
    assert query["X-Goog-Signature"] == expected, f"{name}: the signature differs: {link}"
print("the links to Google Cloud Storage are signed as Google's library signs them")
