"""Calls the service of grpc_server.py through the gateway: grpc_client.py ADDRESS CERTIFICATE TOKEN."""

import sys

import grpc

address, certificate, token = sys.argv[1:]
with open(certificate, "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
channel = grpc.secure_channel(address, credentials, options=SIZE)
signed_in = (("authorization", "Bearer " + token),)


def status(call):
    """How a call fails."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


twice = channel.unary_unary("/test.Service/Twice")
message = bytes(range(256)) * 4096
answer, call = twice.with_call(message, metadata=signed_in, timeout=20)
assert answer == message * 2, len(answer)
assert dict(call.initial_metadata())["caller"] == "ada", call.initial_metadata()
assert dict(call.trailing_metadata())["length"] == str(len(message)), call.trailing_metadata()

count = channel.unary_stream("/test.Service/Count")
numbers = [int(number) for number in count(b"1000", metadata=signed_in, timeout=20)]
assert numbers == list(range(1000)), numbers


def words():
    """Each is sent when the one before has come back."""
    yield b"one"
    while heard < 3:
        yield b"more"


heard = 0
talk = channel.stream_stream("/test.Service/Talk")
for word in talk(words(), metadata=signed_in, timeout=20):
    assert word in (b"ONE", b"MORE"), word
    heard += 1
assert heard >= 3, heard

fail = channel.unary_unary("/test.Service/Fail")
found = status(lambda: fail(b"", metadata=signed_in, timeout=20))
assert found == (grpc.StatusCode.NOT_FOUND, "no such thing"), found
found = status(lambda: twice(b"", timeout=20))
assert found[0] == grpc.StatusCode.UNAUTHENTICATED, found
admin = channel.unary_unary("/admin.Service/Twice")
found = status(lambda: admin(b"", metadata=signed_in, timeout=20))
assert found[0] == grpc.StatusCode.PERMISSION_DENIED, found
print("all well")
