"""An S3-compatible server (moto) that checks signatures and rights, and does with its bucket what a test asks for.

First line of output: {"port": ..., "id": ..., "secret": ...}. Then for each line of input one of output, all JSON:
["list"], ["get", key, file], ["put", key, text], ["uploads"]. Ends with its input.
"""

import json
import logging
import sys
import urllib.request

logging.disable(logging.CRITICAL)

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

BUCKET = "archives"
RIGHTS = ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
url = f"http://127.0.0.1:{port}"
root = {"aws_access_key_id": "root", "aws_secret_access_key": "root", "region_name": "us-east-1", "endpoint_url": url}

boto3.client("s3", **root).create_bucket(Bucket=BUCKET)
iam = boto3.client("iam", **root)


def user(name, rights):
    iam.create_user(UserName=name)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": rights, "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


archiver, tester = user("archiver", RIGHTS), user("tester", ["s3:*"])
# From now on every request needs a signature and the right for it.
request = urllib.request.Request(f"{url}/moto-api/reset-auth", data=b"0", headers={"content-type": "text/plain"})
urllib.request.urlopen(request).read()
s3 = boto3.client(
    "s3",
    endpoint_url=url,
    region_name="us-east-1",
    aws_access_key_id=tester[0],
    aws_secret_access_key=tester[1],
    config=Config(s3={"addressing_style": "path"}),
)
print(json.dumps({"port": port, "id": archiver[0], "secret": archiver[1]}), flush=True)

for line in sys.stdin:
    what, *more = json.loads(line)
    if what == "list":
        answer = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    elif what == "get":
        s3.download_file(BUCKET, more[0], more[1])
        answer = True
    elif what == "put":
        s3.put_object(Bucket=BUCKET, Key=more[0], Body=more[1].encode())
        answer = True
    else:
        answer = len(s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))
    print(json.dumps(answer), flush=True)
