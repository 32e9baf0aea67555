/**
 * All sockets read into one buffer: what is in it is used before the next socket reads. A buffer for each read, as a
 * `data` event has it, would be most of the garbage of this process.
 */
const RECEIVED_BYTES = 256 * 1024;

export const RECEIVED = Buffer.allocUnsafeSlow(RECEIVED_BYTES);
