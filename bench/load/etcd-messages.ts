/**
 * The two requests of etcd's API that the comparison needs, as protobuf in a gRPC frame: h2load
 * posts one fixed body. A field is its number and wire type, then for bytes a length and the bytes.
 *
 *   frame         0 (not compressed) u8, length u32 big-endian, message
 *   PutRequest    1: key bytes, 2: value bytes
 *   RangeRequest  1: key bytes, 7: serializable bool
 */

const lengthDelimited = 2;

export function putRequestFrame(key: string, value: string): Buffer {
  return frame(Buffer.concat([bytesField(1, Buffer.from(key)), bytesField(2, Buffer.from(value))]));
}

/** `isSerializable`: answered from the node's own state, maybe stale. */
export function rangeRequestFrame(key: string, isSerializable: boolean): Buffer {
  const flag = isSerializable ? Buffer.of(7 << 3, 1) : Buffer.alloc(0);
  return frame(Buffer.concat([bytesField(1, Buffer.from(key)), flag]));
}

function frame(message: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

function bytesField(number: number, bytes: Buffer): Buffer {
  const tag = Buffer.of((number << 3) | lengthDelimited);
  return Buffer.concat([tag, varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
