/**
 * ValkeyConnection: the sockets to one Valkey and how they behave when it is slow, gone or back.
 * Promises: a command is sent at once or refused at once, never queued for later and never sent twice (an append would
 *   be doubled); appends, appends that wait for the disk, bulk reads and pub/sub have a socket each, so that a long
 *   replay or a slow disk delays no publish; a socket that leaves a command unanswered for `commandTimeoutMs` is
 *   dropped and opened anew; so is a silent pub/sub socket. A Valkey that may forget what it is given is found out at
 *   every connect and within ten seconds of being configured like that, and is a problem until it is not.
 */
import { Redis } from 'iovalkey';
import type { HealthProbe } from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import { SCRIPTS, type Script } from './scripts.js';
import { fromSentCommand } from './valkey-errors.js';
import { INSPECTED_SECTIONS, inspect } from './valkey-inspection.js';
import type { ValkeySettings } from './valkey-settings.js';

/**
 * How often the pub/sub socket, on which nobody waits for an answer, is asked whether it lives, and Valkey how it is
 * configured. A change is to be known within ten seconds; the question itself may take the command timeout.
 */
const WATCHDOG_MS = 2_000;
/**
 * WAITAOF may wait for as long as any command may take, and answers afterwards. With the default command timeout that
 * still leaves a producer its answer within 2.5 s.
 */
const SYNC_ROOM_MS = 300;
const NOT_INSPECTED = 'valkey: its configuration was not looked at yet';
const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 2_000;

export class ValkeyConnection implements HealthProbe {
  readonly commands: Redis;
  /** For appends that are answered after WAITAOF, which holds up everything behind it on its socket. */
  readonly durable: Redis;
  readonly reads: Redis;
  readonly subscriber: Redis;
  private readonly watchdog: NodeJS.Timeout;
  private unsafe: readonly string[] = [NOT_INSPECTED];
  private seenLogging = true;
  private isInspecting = false;
  /** At the first look at this connection's Valkey: what it evicted before was another time. */
  private evictedBefore: number | undefined;
  private isClosed = false;

  constructor(
    private readonly settings: ValkeySettings,
    private readonly logger: Logger,
  ) {
    this.commands = this.client('commands');
    this.durable = this.client('durable', settings.commandTimeoutMs + SYNC_ROOM_MS);
    this.reads = this.client('reads');
    this.subscriber = this.client('subscriber');
    this.commands.on('ready', () => {
      this.evictedBefore = undefined;
      void this.inspect();
    });
    this.watchdog = setInterval(() => {
      void this.askSubscriber();
      void this.inspect();
    }, WATCHDOG_MS);
  }

  /** Whether events can be stored, read and heard of, as far as it is known without asking. */
  get isUp(): boolean {
    return [this.commands, this.reads, this.subscriber].every(({ status }) => status === 'ready');
  }

  /** Whether Valkey keeps a log that could be synced, as last seen. True until it is known. */
  get logsToDisk(): boolean {
    return this.seenLogging;
  }

  /** Resolves once every socket is usable; keeps trying until then or until closed. */
  async ready(): Promise<void> {
    await Promise.all(
      this.clients.map(
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
    // Not asked whether it answers: it may well be waiting for the disk.
    if (this.durable.status !== 'ready') return ['valkey: the connection for fsync is not connected'];
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
    for (const client of this.clients) client.disconnect();
  }

  private get clients(): readonly Redis[] {
    return [this.commands, this.durable, this.reads, this.subscriber];
  }

  private client(role: string, answerTimeoutMs = this.settings.commandTimeoutMs): Redis {
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
      commandTimeout: answerTimeoutMs,
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
      await Promise.all(SCRIPTS.map(({ source }) => client.script('LOAD', source)));
    } catch (error) {
      // Not fatal: `run` sends the text where the digest is not known.
      this.logger.warn('valkey_scripts_not_loaded', { error });
    }
  }

  /**
   * Valkey must keep what it is given: DESIGN §5. Looked at again and again, since it can be configured anew while we
   * are connected, and after a reconnect may be another Valkey.
   */
  private async inspect(): Promise<void> {
    if (this.commands.status !== 'ready' || this.isInspecting) return;
    this.isInspecting = true;
    try {
      const { problems, logsToDisk, evictedKeys } = inspect(
        await this.commands.info(...INSPECTED_SECTIONS),
        this.evictedBefore,
      );
      this.evictedBefore ??= evictedKeys;
      this.seenLogging = logsToDisk ?? this.seenLogging;
      this.conclude(problems, { evictedKeys });
    } catch (error) {
      // An ACL may hide it from us. Whoever set that up knows whether it is safe, and can say so.
      if (isReply(error))
        this.conclude([`valkey: its configuration cannot be checked: ${error.message}`], {});
      else if (!this.isClosed) this.logger.warn('valkey_not_inspected', { error });
      if (fromSentCommand(error).reason === 'timeout') this.reset(this.commands);
    }
    this.isInspecting = false;
  }

  /** One line for each change, however often it is looked at. */
  private conclude(problems: readonly string[], fields: Readonly<Record<string, unknown>>): void {
    const before = this.unsafe;
    this.unsafe = problems;
    const level = this.settings.allowUnsafe ? 'warn' : 'error';
    for (const problem of problems) {
      if (!before.includes(problem)) this.logger[level]('valkey_unsafe', { problem, ...fields });
    }
    for (const problem of before) {
      if (problem !== NOT_INSPECTED && !problems.includes(problem)) {
        this.logger.info('valkey_safe_again', { problem });
      }
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
