/**
 * HandedOver: the connection that a worker was given last and may not have taken yet. When a worker dies, Node forgets
 * such a connection without closing it, and its client would wait for an answer for ever. Here it is closed, so that the
 * client comes back, to a worker that lives.
 * Node hands a connection to a worker with the public `send` of its process, one at a time, the next one when the last
 * was taken. Should a later Node do it otherwise, nothing is seen here, nothing breaks, and the test of it fails.
 */
import type { ChildProcess } from 'node:child_process';
import type { Worker } from 'node:cluster';

interface Connection {
  /** Once is as good as twice. */
  close(): void;
}

type Send = ChildProcess['send'];

export class HandedOver {
  private readonly last = new Map<Worker, Connection>();

  /** Watches what is handed to the worker, until it ends. */
  follow(worker: Worker): void {
    const { process: child } = worker;
    const send = child.send.bind(child);
    const watched = (...args: Parameters<Send>): boolean => {
      const [message, handle] = args;
      if (isHandingOver(message) && isConnection(handle)) this.take(worker, handle);
      return send(...args);
    };
    child.send = watched as Send;
    worker.once('exit', () => {
      this.last.get(worker)?.close();
      this.last.delete(worker);
    });
  }

  /** A worker that is retiring gives a connection back, and then it is another's. */
  private take(worker: Worker, connection: Connection): void {
    for (const [other, theirs] of this.last) if (theirs === connection) this.last.delete(other);
    this.last.set(worker, connection);
  }
}

const isHandingOver = (message: unknown): boolean =>
  typeof message === 'object' && message !== null && 'act' in message && message.act === 'newconn';

const isConnection = (handle: unknown): handle is Connection =>
  typeof handle === 'object' && handle !== null && 'close' in handle && typeof handle.close === 'function';
