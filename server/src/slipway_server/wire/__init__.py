"""Generated code of the messages that clients send and files hold. Written by protos/generate."""
