/** Frames from server to client, which are not masked (RFC 6455 §5.2). */
const LENGTH_BITS = 0x7f;
const OPCODE_BITS = 0x0f;
const LENGTH_IN_16_BITS = 126;
const LENGTH_IN_64_BITS = 127;

export const opcodeOf = (bytes: Buffer, at: number): number => bytes[at]! & OPCODE_BITS;

/** How many bytes precede the content of the frame at `at`. */
export const headerSize = (bytes: Buffer, at: number): number => {
  const length = bytes[at + 1]! & LENGTH_BITS;
  return length < LENGTH_IN_16_BITS ? 2 : length === LENGTH_IN_16_BITS ? 4 : 10;
};

export const serverFrameSize = (bytes: Buffer, at: number, to: number): number => {
  if (to - at < 2) return 0;
  const header = headerSize(bytes, at);
  if (to - at < header) return 0;
  const length = bytes[at + 1]! & LENGTH_BITS;
  switch (length) {
    case LENGTH_IN_16_BITS:
      return header + bytes.readUInt16BE(at + 2);
    case LENGTH_IN_64_BITS:
      return header + bytes.readUIntBE(at + 4, 6);
    default:
      return header + length;
  }
};
