/** A network between a client and a Valkey, in which single connections fall silent as they do when a route is lost. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Place } from './open-valkey.js';

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  /** What the client has said so far; its first words name it. */
  said: string;
}

const FIRST_WORDS_MAX = 2_000;

export class TcpRelay {
  private readonly links = new Set<Link>();
  private readonly server = createServer((client) => this.onConnection(client));

  private constructor(private readonly to: Place) {}

  static async open(to: Place): Promise<TcpRelay> {
    const relay = new TcpRelay(to);
    relay.server.listen(0, '127.0.0.1');
    await once(relay.server, 'listening');
    return relay;
  }

  get place(): Place {
    return { host: '127.0.0.1', port: (this.server.address() as AddressInfo).port };
  }

  /** From now on nothing comes through on the connections that called themselves `name`. They stay open. */
  silence(name: string): number {
    const found = this.named(name);
    for (const { client, server } of found) {
      client.unpipe().pause();
      server.unpipe().pause();
    }
    return found.length;
  }

  /** Closes the connections that called themselves `name`, silent ones too. */
  cut(name: string): number {
    const found = this.named(name);
    for (const { client } of found) client.destroy();
    return found.length;
  }

  close(): void {
    this.server.close();
    for (const { client, server } of this.links) {
      client.destroy();
      server.destroy();
    }
  }

  private named(name: string): readonly Link[] {
    return [...this.links].filter(({ said }) => said.includes(name));
  }

  private onConnection(client: Socket): void {
    const server = connect(this.to.port, this.to.host);
    const link: Link = { client, server, said: '' };
    this.links.add(link);
    client.on('data', (chunk) => {
      if (link.said.length < FIRST_WORDS_MAX) link.said += chunk.toString('latin1');
    });
    client.pipe(server);
    server.pipe(client);
    for (const socket of [client, server]) {
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.links.delete(link);
        client.destroy();
        server.destroy();
      });
    }
  }
}
