/**
 * ValkeyConnection: the sockets to one Valkey and how they behave when it is slow, gone or back.
 * Promises: a command is sent at once or refused at once, never queued for later and never sent twice (an append would
 *   be doubled); appends, bulk reads and pub/sub have a socket each, so that a long replay delays no publish; a socket
 *   that leaves a command unanswered for `commandTimeoutMs` is dropped and opened anew; so is a silent pub/sub socket.
 */
import { Redis } from 'iovalkey';
import type { HealthProbe } from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import { APPEND, BOUNDS, type Script } from './scripts.js';
import type { ValkeySettings } from './valkey-settings.js';

/** How often the pub/sub socket, on which nobody waits for an answer, is asked whether it lives. */
const WATCHDOG_MS = 5_000;
const NOT_INSPECTED = 'valkey: its configuration was not looked at yet';
const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 2_000;

export class ValkeyConnection implements HealthProbe {
  readonly commands: Redis;
  readonly reads: Redis;
  readonly subscriber: Redis;
  private readonly watchdog: NodeJS.Timeout;
  private unsafe: readonly string[] = [NOT_INSPECTED];
  private isClosed = false;

  constructor(
    private readonly settings: ValkeySettings,
    private readonly logger: Logger,
  ) {
    this.commands = this.client('commands');
    this.reads = this.client('reads');
    this.subscriber = this.client('subscriber');
    this.commands.on('ready', () => void this.inspect());
    this.watchdog = setInterval(() => void this.askSubscriber(), WATCHDOG_MS);
  }

  /** Resolves once every socket is usable; keeps trying until then or until closed. */
  async ready(): Promise<void> {
    await Promise.all(
      [this.commands, this.reads, this.subscriber].map(
        (client) =>
          new Promise<void>((resolve) => {
            if (client.status === 'ready') resolve();
            else client.once('ready', resolve);
          }),
      ),
    );
  }

  /** Opens `client` anew: what it has not answered by now it may never answer. Its own goodbye would wait for one. */
  reset(client: Redis): void {
    if (!this.isClosed) client.stream.destroy();
  }

  /** Runs a script by its digest, and by its text where Valkey has forgotten it. */
  async run(
    client: Redis,
    script: Script,
    keys: readonly string[],
    args: readonly string[],
  ): Promise<unknown> {
    try {
      return await client.call('EVALSHA', script.sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!isNoScript(error)) throw error;
      return client.call('EVAL', script.source, keys.length, ...keys, ...args);
    }
  }

  async problems(): Promise<readonly string[]> {
    if (this.commands.status !== 'ready' || this.reads.status !== 'ready') return ['valkey: not connected'];
    if (this.subscriber.status !== 'ready') return ['valkey: pub/sub is not connected'];
    try {
      await this.commands.ping();
    } catch (error) {
      // Nobody may be sending anything else while we are not ready, so nobody else would find out.
      if (!isReply(error)) this.reset(this.commands);
      return [`valkey: ${error instanceof Error ? error.message : 'no answer'}`];
    }
    return this.settings.allowUnsafe ? [] : this.unsafe;
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.watchdog);
    for (const client of [this.commands, this.reads, this.subscriber]) client.disconnect();
  }

  private client(role: string): Redis {
    const { host, port, username, password, db, commandTimeoutMs } = this.settings;
    const client = new Redis({
      host,
      port,
      ...(username === '' ? {} : { username }),
      ...(password === '' ? {} : { password }),
      db,
      connectionName: `pulsar-proxy:${role}`,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      // The feed does it, and then reads what it has missed. The client forgets to when the socket breaks once more.
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      commandTimeout: commandTimeoutMs,
      connectTimeout: commandTimeoutMs,
      keepAlive: 10_000,
      // A big append-only file may take minutes to load; until then the socket is not ready.
      maxLoadingRetryTime: RECONNECT_MS_MAX,
      retryStrategy: (attempt) => {
        const ceiling = Math.min(RECONNECT_MS_MAX, RECONNECT_MS_MIN * 2 ** Math.min(attempt, 10));
        return RECONNECT_MS_MIN + Math.random() * (ceiling - RECONNECT_MS_MIN);
      },
      // 1 and not 2: reconnect, but do not send the refused command again.
      reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 1 : false),
    });
    client.on('error', (error: Error) => this.logger.warn('valkey_error', { role, error: error.message }));
    client.on('ready', () => {
      this.logger.info('valkey_connected', { role });
      if (role !== 'subscriber') void this.loadScripts(client);
    });
    client.on('close', () => {
      if (!this.isClosed) this.logger.warn('valkey_disconnected', { role });
    });
    return client;
  }

  private async loadScripts(client: Redis): Promise<void> {
    try {
      await Promise.all([APPEND, BOUNDS].map(({ source }) => client.script('LOAD', source)));
    } catch (error) {
      // Not fatal: `run` sends the text where the digest is not known.
      this.logger.warn('valkey_scripts_not_loaded', { error });
    }
  }

  /** Valkey must keep what it is given: DESIGN §5. Checked at every connect, since it may be another Valkey now. */
  private async inspect(): Promise<void> {
    try {
      const [memory, persistence] = await Promise.all([
        this.commands.info('memory'),
        this.commands.info('persistence'),
      ]);
      const policy = /maxmemory_policy:(\S+)/.exec(memory)?.[1];
      const isLogging = /aof_enabled:(\d)/.exec(persistence)?.[1] === '1';
      this.unsafe = [
        ...(policy === 'noeviction'
          ? []
          : [`valkey: maxmemory-policy is ${policy}, must be noeviction: it would evict whole topics`]),
        ...(isLogging ? [] : ['valkey: appendonly is off: a restart of Valkey would lose every message']),
      ];
      for (const problem of this.unsafe) this.logger.error('valkey_unsafe', { problem });
    } catch (error) {
      // An ACL may hide it from us; that is a reason to say so, not one to refuse service.
      if (isReply(error)) this.unsafe = [];
      this.logger.warn('valkey_not_inspected', { error });
    }
  }

  private async askSubscriber(): Promise<void> {
    if (this.subscriber.status !== 'ready') return;
    try {
      await this.subscriber.ping();
    } catch {
      this.logger.warn('valkey_watchdog', { role: 'subscriber', silentMs: this.settings.commandTimeoutMs });
      this.reset(this.subscriber);
    }
  }
}

/** Did Valkey itself answer this? Whatever else fails, failed on the way. */
const isReply = (error: unknown): error is Error => error instanceof Error && error.name === 'ReplyError';

export const isNoScript = (error: unknown): boolean => isReply(error) && error.message.startsWith('NOSCRIPT');
