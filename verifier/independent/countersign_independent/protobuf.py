"""Protocol Buffers as docs/spec/gcp.md, "Launch endorsement", narrows them. In: bytes, a table of fields. Out: values, or Malformed."""

from types import SimpleNamespace

from .cbor import Malformed

MOST_FIELDS = 1024
MOST = 2**64 - 1


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        """A number of at most 64 bits, as short as can be."""
        out = shift = 0
        while True:
            if self.at == len(self.data):
                raise Malformed("ends early")
            byte = self.data[self.at]
            self.at += 1
            out |= (byte & 127) << shift
            if not byte & 128:
                break
            shift += 7
        if (shift and not byte) or out > MOST:
            raise Malformed("number")
        return out

    def take(self, size):
        out = self.data[self.at : self.at + size]
        if len(out) != size:
            raise Malformed("ends early")
        self.at += size
        return out


class Field:
    """What a field has to be: a number up to most, or bytes that a function reads; whether it must be there, or may stand there often."""

    def __init__(self, name, read=None, most=None, needed=False, many=False):
        self.name, self.read, self.most, self.needed, self.many = name, read, most, needed, many

    def value(self, reader, wire):
        if self.most is not None and wire == 0:
            number = reader.number()
            if number > self.most:
                raise Malformed(f"{self.name} is too large")
            return number
        if self.most is None and wire == 2:
            return self.read(reader.take(reader.number()))
        raise Malformed(f"{self.name} is of another type")


def message(data, fields):
    """Values by name; what is absent is None, or an empty list."""
    out = {one.name: [] if one.many else None for one in fields.values()}
    reader, count = _Reader(data), 0
    while reader.at < len(data):
        count += 1
        if count > MOST_FIELDS:
            raise Malformed("too many fields")
        number, wire = divmod(reader.number(), 8)
        if number not in fields:
            raise Malformed("field that is not known")
        one = fields[number]
        value = one.value(reader, wire)
        if one.many:
            out[one.name].append(value)
        elif out[one.name] is not None:
            raise Malformed(f"{one.name} twice")
        else:
            out[one.name] = value
    if any(one.needed and out[one.name] is None for one in fields.values()):
        raise Malformed("field that is missing")
    return SimpleNamespace(**out)


def sized(*sizes):
    """Reads bytes of one of these sizes."""

    def read(data):
        if len(data) not in sizes:
            raise Malformed("size")
        return data

    return read
