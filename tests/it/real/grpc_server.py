"""A gRPC service without generated code: messages are bytes. Tells its port on standard output."""

from concurrent import futures

import grpc


def twice(message, context):
    """One message each way, fields and trailers too."""
    fields = dict(context.invocation_metadata())
    context.send_initial_metadata((("caller", fields.get("x-auth-user", "nobody")),))
    context.set_trailing_metadata((("length", str(len(message))),))
    return message * 2


def count(message, _context):
    """A stream down."""
    for number in range(int(message)):
        yield str(number).encode()


def talk(messages, _context):
    """A stream each way, message by message."""
    for message in messages:
        yield message.upper()


def fail(_message, context):
    """A status of the application's own."""
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


METHODS = {
    "Twice": grpc.unary_unary_rpc_method_handler(twice),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
}

SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=SIZE)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", METHODS),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
