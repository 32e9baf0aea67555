/**
 * A TCP connection on loopback, made to receive much. All of them read into one buffer: what is in it is used before
 * the next one reads. A buffer for each read, as a `data` event has it, would be most of the garbage of this process.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const RECEIVED_BYTES = 256 * 1024;

export const RECEIVED = Buffer.allocUnsafeSlow(RECEIVED_BYTES);

/**
 * Resolves once it is connected. `onBytes` is called with how many bytes lie in `RECEIVED`, which are valid until it
 * returns, and not before this has resolved: nobody here is spoken to before they have spoken.
 */
export const openReceivingSocket = async (
  port: number,
  onBytes: (length: number) => void,
): Promise<Socket> => {
  const socket = connect({
    port,
    host: '127.0.0.1',
    noDelay: true,
    onread: {
      buffer: RECEIVED,
      callback: (length) => {
        onBytes(length);
        return true;
      },
    },
  });
  await once(socket, 'connect');
  return socket;
};
