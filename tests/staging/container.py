"""Makes the container of a test in Azurite, or lists its blobs, with Azure's own library: container.py URL create|list."""
import sys

from azure.storage.blob import BlobServiceClient

# Azurite's well-known key.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
service = BlobServiceClient(f"{sys.argv[1]}/devstoreaccount1", credential=KEY)
if sys.argv[2] == "create":
    service.create_container("bucket")
else:
    for blob in service.get_container_client("bucket").list_blobs():
        print(blob.name)
