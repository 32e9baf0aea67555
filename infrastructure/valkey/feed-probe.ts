/**
 * FeedProbe: does pub/sub deliver, and how fast? A token of our own goes the way of every message, published on the
 * commands socket and received on that of pub/sub, once a second. Connections can all be fine and nothing arrive: when
 * a user of Valkey lost its channels, or a proxy in between only passes on what it likes.
 * Promises: a feed that delivers nothing is a problem after three seconds, and none as soon as it delivers again; one
 *   probe at a time is under way. Time in which this process itself stood still does not count.
 */
import { randomUUID } from 'node:crypto';
import type { HealthProbe } from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import type { Milliseconds } from '../../domain/time.js';
import { OwnChannel } from './own-channel.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand } from './valkey-errors.js';
import type { ValkeySettings } from './valkey-settings.js';

const PROBE_MS: Milliseconds = 1_000;
/** Probing goes on for this many turns without an echo before that is a problem, and before a probe counts as lost. */
const TURNS_MAX = 3;
const SILENT = 'valkey: pub/sub does not deliver';

interface Probe {
  readonly token: string;
  readonly sentAtMs: number;
  /** How often the timer has fired since; a timer that this process was too busy to fire does not fire twice. */
  turns: number;
}

export class FeedProbe implements HealthProbe {
  private readonly channelName: string;
  private readonly channel: OwnChannel;
  private readonly timer: NodeJS.Timeout;
  private probe: Probe | undefined;
  private probesSent = 0;
  private lastLagMs: Milliseconds | undefined;
  /** When the first probe since the last echo was due. */
  private silentSinceMs: number | undefined;
  private silentTurns = 0;

  constructor(
    private readonly connection: ValkeyConnection,
    { keyPrefix, db }: Pick<ValkeySettings, 'keyPrefix' | 'db'>,
    private readonly logger: Logger,
  ) {
    // A channel for each instance: it wants to know whether it hears itself, and need not hear the others.
    this.channelName = `${keyPrefix}probe:${randomUUID()}@${db}`;
    this.channel = new OwnChannel(
      connection,
      this.channelName,
      { onMessage: (text) => this.onMessage(text), onSubscribed: () => this.begin() },
      logger,
    );
    this.timer = setInterval(() => this.onTurn(), PROBE_MS);
  }

  /** The last round trip, or how long the next one takes already where that is longer. Undefined before the first. */
  get lagMs(): Milliseconds | undefined {
    if (this.lastLagMs === undefined || this.silentSinceMs === undefined) return this.lastLagMs;
    return Math.max(this.lastLagMs, performance.now() - this.silentSinceMs);
  }

  problems(): Promise<readonly string[]> {
    return Promise.resolve(this.isSilent ? [SILENT] : []);
  }

  close(): void {
    clearInterval(this.timer);
    this.channel.close();
  }

  private get isSilent(): boolean {
    return this.silentTurns > TURNS_MAX;
  }

  /** Subscribed on a new connection: a probe that is under way was published to the old one. */
  private begin(): void {
    this.probe = undefined;
    this.send();
  }

  private onTurn(): void {
    this.silentSinceMs ??= performance.now();
    // What is not connected delivers nothing, and is said elsewhere.
    if (!this.connection.isUp) return;
    this.silentTurns += 1;
    // Said once, at the turn that makes it so.
    if (this.silentTurns === TURNS_MAX + 1) this.logger.error('valkey_feed_silent', { problem: SILENT });
    if (this.probe !== undefined) this.probe.turns += 1;
    if (this.probe === undefined || this.probe.turns >= TURNS_MAX) this.send();
  }

  private send(): void {
    const { commands } = this.connection;
    this.probe = undefined;
    if (commands.status !== 'ready') return;
    this.probesSent += 1;
    const probe = { token: String(this.probesSent), sentAtMs: performance.now(), turns: 0 };
    this.probe = probe;
    this.silentSinceMs ??= probe.sentAtMs;
    commands.publish(this.channelName, probe.token).catch((error: unknown) => {
      if (this.probe === probe) this.probe = undefined;
      this.logger.debug('valkey_probe_failed', { error });
      if (fromSentCommand(error).reason === 'timeout') this.connection.reset(commands);
    });
  }

  private onMessage(text: string): void {
    // Not ours, or of a probe that was given up: it says nothing about now.
    if (text !== this.probe?.token) return;
    this.lastLagMs = performance.now() - this.probe.sentAtMs;
    if (this.isSilent) this.logger.info('valkey_feed_heard_again', { lagMs: this.lastLagMs });
    this.probe = undefined;
    this.silentSinceMs = undefined;
    this.silentTurns = 0;
  }
}
