/**
 * A network between proxies and their Valkey that can be made bad: slow, narrow, silent, cut, refused. The weather
 * holds for the connections that are there and for those that come; single ones fall silent or are cut by the name that
 * they gave themselves. TCP promises order, so bytes are never reordered, lost or doubled while a connection lives;
 * `blackHole` and `silence` lose them, and what was in it when they were lost can only be cut.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Random } from './random.js';

export interface Place {
  readonly host: string;
  readonly port: number;
}

/** What becomes of the bytes. */
export type Weather =
  | { readonly type: 'pass' }
  /** Each piece arrives this much later, in both directions, and never before an earlier one. */
  | { readonly type: 'delay'; readonly delayMs: number; readonly jitterMs: number }
  /** No more than this, on each connection and in each direction. */
  | { readonly type: 'throttle'; readonly bytesPerSecond: number }
  /** Connections stay open, new ones are accepted, and nothing comes through in either direction. */
  | { readonly type: 'blackHole' }
  /** Nobody is there: connections are cut, new ones are refused. */
  | { readonly type: 'refuse' };

type Direction = 'request' | 'reply';

/** A client names itself in its first words (`CLIENT SETNAME`, `HELLO`). */
const FIRST_WORDS_MAX = 2_000;

const PASS: Weather = { type: 'pass' };

export class ChaosProxy {
  private readonly links = new Set<Link>();
  private weather: Weather = PASS;
  private repliesToCut = 0;

  private constructor(
    private readonly to: Place,
    private readonly random: Random,
    private server: Server,
    readonly place: Place,
  ) {}

  /** Listens on a port of the system's choice. The seed is that of the jitter. */
  static async open(to: Place, seed = 1): Promise<ChaosProxy> {
    const server = await listen(0);
    const { port } = server.address() as AddressInfo;
    const proxy = new ChaosProxy(to, new Random(seed), server, { host: '127.0.0.1', port });
    server.on('connection', (client) => proxy.onConnection(client));
    return proxy;
  }

  get connections(): number {
    return this.links.size;
  }

  /** From now on this happens, until something else is said. Resolves when it does. */
  async become(weather: Weather): Promise<void> {
    const was = this.weather;
    this.weather = weather;
    if (was.type === weather.type) return;
    // What a black hole has swallowed is missing from the middle of these: no route comes back like that.
    if (was.type === 'blackHole' || weather.type === 'refuse') this.cut();
    if (weather.type === 'refuse') await this.stopListening();
    if (was.type === 'refuse') {
      this.server = await listen(this.place.port);
      this.server.on('connection', (client) => this.onConnection(client));
    }
  }

  /** As if nothing had ever been. */
  async heal(): Promise<void> {
    this.repliesToCut = 0;
    await this.become(PASS);
  }

  /** Resets every connection (RST), or those that called themselves `name`; answers how many there were. */
  cut(name = ''): number {
    const cut = this.named(name);
    for (const link of cut) link.reset();
    return cut.length;
  }

  /**
   * From now on nothing comes through on the connections that called themselves `name`, as when a route is lost. They
   * stay open. Answers how many there are.
   */
  silence(name: string): number {
    const silenced = this.named(name);
    for (const link of silenced) link.isSilent = true;
    return silenced.length;
  }

  /**
   * The next `count` replies are not passed on: the connection that one comes on is reset instead. What was asked has
   * then been done, and whoever asked does not know.
   */
  cutReplies(count: number): void {
    this.repliesToCut = count;
  }

  /** How many of these are still to come. */
  get cutsLeft(): number {
    return this.repliesToCut;
  }

  async close(): Promise<void> {
    this.cut();
    await this.stopListening();
  }

  private named(name: string): readonly Link[] {
    return [...this.links].filter(({ firstWords }) => firstWords.includes(name));
  }

  private async stopListening(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    await closed;
  }

  private onConnection(client: Socket): void {
    const server = connect(this.to.port, this.to.host);
    const link = new Link(client, server, (direction, bytes) => this.pass(link, direction, bytes));
    this.links.add(link);
    client.once('close', () => this.links.delete(link));
  }

  private pass(link: Link, direction: Direction, bytes: Buffer): void {
    const { weather } = this;
    if (weather.type === 'blackHole' || link.isSilent) return;
    if (direction === 'reply' && this.repliesToCut > 0) {
      this.repliesToCut -= 1;
      link.reset();
      return;
    }
    link.forward(direction, bytes, this.lateness(bytes.length));
  }

  private lateness(bytes: number): Lateness {
    const { weather } = this;
    switch (weather.type) {
      case 'delay':
        return {
          delayMs: Math.max(0, weather.delayMs + (this.random.next() * 2 - 1) * weather.jitterMs),
          occupiedMs: 0,
        };
      case 'throttle':
        return { delayMs: 0, occupiedMs: (bytes / weather.bytesPerSecond) * 1000 };
      case 'pass':
      case 'blackHole':
      case 'refuse':
        return { delayMs: 0, occupiedMs: 0 };
    }
  }
}

/** Both halves of one connection. */
class Link {
  isSilent = false;
  /** What the client has said in the beginning. */
  firstWords = '';
  private readonly lanes: Readonly<Record<Direction, Lane>>;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    onBytes: (direction: Direction, bytes: Buffer) => void,
  ) {
    this.lanes = { request: new Lane(server), reply: new Lane(client) };
    client.on('data', (bytes: Buffer) => {
      if (this.firstWords.length < FIRST_WORDS_MAX) this.firstWords += bytes.toString('latin1');
      onBytes('request', bytes);
    });
    server.on('data', (bytes: Buffer) => onBytes('reply', bytes));
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      // What there is to say about it is said by `close`.
      socket.on('error', () => undefined);
      socket.on('close', () => this.end());
    }
  }

  forward(direction: Direction, bytes: Buffer, late: Lateness): void {
    this.lanes[direction].push(bytes, late);
  }

  reset(): void {
    this.client.resetAndDestroy();
    this.end();
  }

  private end(): void {
    this.lanes.request.end();
    this.lanes.reply.end();
    this.client.destroy();
    this.server.destroy();
  }
}

interface Lateness {
  readonly delayMs: number;
  /** How long the piece takes to pass; the next one has to wait for it. */
  readonly occupiedMs: number;
}

/** One direction of one connection: a queue, because timers of different lengths do not keep an order. */
class Lane {
  private readonly queue: { readonly bytes: Buffer; readonly atMs: number }[] = [];
  private freeAtMs = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly to: Socket) {}

  push(bytes: Buffer, { delayMs, occupiedMs }: Lateness): void {
    const now = performance.now();
    const atMs = Math.max(this.freeAtMs, now + delayMs) + occupiedMs;
    this.freeAtMs = atMs;
    this.queue.push({ bytes, atMs });
    if (this.timer === undefined) this.flush();
  }

  end(): void {
    clearTimeout(this.timer);
    this.queue.length = 0;
  }

  private flush(): void {
    this.timer = undefined;
    const now = performance.now();
    for (let next = this.queue[0]; next !== undefined; next = this.queue[0]) {
      if (next.atMs > now) {
        this.timer = setTimeout(() => this.flush(), next.atMs - now);
        return;
      }
      this.queue.shift();
      this.to.write(next.bytes);
    }
  }
}

const listen = async (port: number): Promise<Server> => {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
};
