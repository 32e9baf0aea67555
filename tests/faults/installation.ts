/**
 * A whole installation to break: proxies as processes of their own, each with a network of its own to one real Valkey
 * that writes its log. What is done to it is done from outside, as operators and accidents do it.
 */
import { fileURLToPath } from 'node:url';
import type { Redis } from 'iovalkey';
import { connectAsAdmin } from '../infrastructure/valkey/valkey-admin.js';
import { ChaosProxy, type Weather } from '../support/chaos-proxy.js';
import { request } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { spawnProxy, type ProxyProcess, type SpawnOptions } from '../support/proxy.js';
import { startValkey, type ValkeyServer } from '../support/valkey-server.js';
import { FAILPOINT_VARIABLE, type Failpoint } from './failpoint.js';
import type { StoredMessage } from './history.js';

export interface InstallationOptions {
  /** How many. Default 2. */
  readonly proxies?: number;
  /** The section `delivery` of every proxy's configuration. */
  readonly delivery?: Readonly<Record<string, unknown>>;
  /** Further arguments of Valkey. Without any it syncs every write: nothing that it answered is lost with it. */
  readonly valkey?: readonly string[];
  readonly seed?: number;
}

/** How long it may take until everything is well again after a fault: what a test waits for at most. */
const READY_MAX_MS = 20_000;
const PAGE = 1_000;
/** What waits to come again comes while somebody still looks. */
const SOON = { redelivery_backoff: ['100ms', '500ms'] };
const FAILING_PROXY = fileURLToPath(new URL('./failing-proxy.js', import.meta.url));

/** Where a proxy runs, or is just not running. */
export class Slot {
  private running: ProxyProcess | undefined;
  private readonly started: ProxyProcess[] = [];
  /** When a proxy here last thawed. */
  private frozenMs = -Infinity;
  private isFrozen = false;

  constructor(
    readonly name: string,
    readonly network: ChaosProxy,
    private readonly delivery: Readonly<Record<string, unknown>>,
  ) {}

  /** Undefined while nothing runs here. */
  get proxy(): ProxyProcess | undefined {
    return this.running;
  }

  /** The proxy, which must run. */
  get target(): ProxyProcess {
    if (this.running === undefined) throw new Error(`no proxy runs in slot ${this.name}`);
    return this.running;
  }

  /** Starts the service, or what `how` says. Resolves once it listens. */
  async start(how: Pick<SpawnOptions, 'entry' | 'env'> = {}): Promise<void> {
    const proxy = await spawnProxy({
      driver: 'valkey',
      valkey: { port: this.network.place.port },
      config: { delivery: { ...SOON, ...this.delivery } },
      ...how,
    });
    this.running = proxy;
    this.started.push(proxy);
    void proxy.exited.then(() => {
      if (this.running === proxy) this.running = undefined;
    });
  }

  /** Starts the service with an event store that kills it at a failpoint. Resolves once it listens. */
  startFailing(failpoint: Failpoint): Promise<void> {
    return this.start({ entry: FAILING_PROXY, env: { [FAILPOINT_VARIABLE]: JSON.stringify(failpoint) } });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.target.kill('SIGKILL');
    await this.ended();
  }

  /** SIGTERM; answers its exit code. */
  async stop(): Promise<number | null> {
    const proxy = this.target;
    proxy.kill('SIGTERM');
    return (await proxy.exited).code;
  }

  freeze(): void {
    this.isFrozen = true;
    this.target.kill('SIGSTOP');
  }

  thaw(): void {
    this.isFrozen = false;
    this.frozenMs = performance.now();
    this.target.kill('SIGCONT');
  }

  wasFrozenSince(ms: number): boolean {
    return this.isFrozen || this.frozenMs > ms;
  }

  /** Resolves when nothing runs here any more, whatever ended it. */
  async ended(): Promise<void> {
    const proxy = this.running;
    await proxy?.exited;
    if (this.running === proxy) this.running = undefined;
  }

  async isReady(timeoutMs = READY_MAX_MS): Promise<void> {
    await eventually(async () => {
      const { status, text } = await request(this.target, 'GET', '/ready');
      if (status !== 200) throw new Error(`${this.name} is not ready: ${status} ${text}`);
    }, timeoutMs);
  }

  /** What no fault excuses, of every proxy that ever ran here: warnings of Node itself, and failures nobody handled. */
  complaints(): readonly string[] {
    return this.started.flatMap(({ stdout, stderr }) => [
      ...(stderr() === '' ? [] : [`${this.name} wrote to stderr: ${stderr().slice(0, 500)}`]),
      ...(stdout().includes('"unhandled_rejection"') ? [`${this.name} has an unhandled rejection`] : []),
    ]);
  }

  async close(): Promise<void> {
    this.running?.kill('SIGCONT');
    this.running?.kill('SIGKILL');
    await this.ended();
    await this.network.close();
  }
}

export class Installation {
  private constructor(
    readonly valkey: ValkeyServer,
    readonly slots: readonly Slot[],
  ) {}

  /** Resolves when every proxy is ready. */
  static async open({
    proxies = 2,
    delivery = {},
    valkey: valkeyOptions = ['--appendfsync', 'always'],
    seed = 1,
  }: InstallationOptions = {}): Promise<Installation> {
    const valkey = await startValkey(valkeyOptions);
    const slots = await Promise.all(
      Array.from({ length: proxies }, async (_, i) => {
        const network = await ChaosProxy.open(valkey, seed + i);
        return new Slot(String.fromCharCode(FIRST_NAME + i), network, delivery);
      }),
    );
    const installation = new Installation(valkey, slots);
    try {
      await Promise.all(slots.map((slot) => slot.start()));
      await installation.isReady();
    } catch (error) {
      await installation.close();
      throw error;
    }
    return installation;
  }

  slot(index: number): Slot {
    const slot = this.slots[index];
    if (slot === undefined) throw new Error(`there is no slot ${index}`);
    return slot;
  }

  /** The proxies that run, frozen ones among them. */
  get running(): readonly (Slot & { readonly proxy: ProxyProcess })[] {
    return this.slots.filter(
      (slot): slot is Slot & { readonly proxy: ProxyProcess } => slot.proxy !== undefined,
    );
  }

  complaints(): readonly string[] {
    return this.slots.flatMap((slot) => slot.complaints());
  }

  /** The same for every proxy's network. */
  async networksBecome(weather: Weather): Promise<void> {
    await Promise.all(this.slots.map(({ network }) => network.become(weather)));
  }

  async isReady(): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.isReady()));
  }

  /** Straight to Valkey, past every network. For one piece of work. */
  async asAdmin<A>(work: (admin: Redis) => Promise<A>): Promise<A> {
    const admin = connectAsAdmin(this.valkey);
    try {
      return await work(admin);
    } finally {
      admin.disconnect();
    }
  }

  /** Every message in every topic, as it lies there. */
  stored(): Promise<readonly StoredMessage[]> {
    return this.asAdmin(async (admin) => {
      const messages: StoredMessage[] = [];
      for (const key of await admin.keys('topic:*')) {
        const topic = key.slice('topic:'.length);
        for (let from = '-'; ;) {
          const page = await admin.xrange(key, from, '+', 'COUNT', PAGE);
          for (const [id, fields] of page) {
            const place = fields.findIndex((field, i) => i % 2 === 0 && field === 'payload');
            // What is no message is the mark of a loss.
            if (place >= 0) messages.push({ messageId: `${topic}:${id}`, payload: fields[place + 1] ?? '' });
          }
          const last = page.at(-1)?.[0];
          if (page.length < PAGE || last === undefined) break;
          from = `(${last}`;
        }
      }
      return messages;
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.close()));
    this.valkey.thaw();
    await this.valkey.kill();
  }
}

const FIRST_NAME = 'A'.charCodeAt(0);
