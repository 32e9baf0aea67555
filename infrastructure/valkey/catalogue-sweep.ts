/**
 * CatalogueSweep: lets go of what is over, for the topics of the catalogue: messages that are older than they are kept,
 * and entries of topics that do not exist any more. An append forgets old messages in whole blocks only, and a topic
 * that nobody writes to forgets none. Topics expire by themselves, their entries in the catalogue do not: without this,
 * every topic that ever was would stay on the list, and one that comes back would stand there twice.
 * Promises: no message is kept for longer than its time and about two intervals; an entry is taken out within about two
 *   intervals of its topic's expiry; of several entries of one topic the newest stays; publishes are not delayed (it
 *   works in pages, on the socket of bulk reads); whatever fails is tried again at the next interval; entries that are
 *   not ours are left alone.
 * A topic that comes back while this runs is safe: coming back appends a new entry, and only entries that were read
 *   before their topic was looked for are taken out. So two sweeps at once do no harm either.
 * Does not promise: little memory at any size. It remembers the name of every topic that exists while it runs, as
 *   every instance with a pattern does anyway. In Valkey, a block of the catalogue (4 kB) goes when its last entry does.
 * When every entry is gone the key stays, empty: it counts the entries ever added, from which the feed tells holes.
 */
import type { Redis } from 'iovalkey';
import type { Cancel, Clock } from '../../application/ports/clock.js';
import {
  CATALOGUE,
  sweepIntervalMs,
  topicStream,
  type RetentionSettings,
} from '../../application/ports/event-store.js';
import type { Logger } from '../../application/ports/logger.js';
import { formatOffset, offsetAt } from '../../domain/message/offset.js';
import type { Milliseconds } from '../../domain/time.js';
import type { TopicName } from '../../domain/topic/topic-name.js';
import type { KeyNames } from './keys.js';
import { decodeEvent } from './recorded-event-codec.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { fromSentCommand } from './valkey-errors.js';

interface Listed {
  readonly id: string;
  readonly topic: TopicName;
}

const PAGE = 1_000;

/** How often it is worth looking for messages that are too old: they are then kept for a tenth longer at most. */
export const trimmingIntervalMs = ({ messagesMs }: Pick<RetentionSettings, 'messagesMs'>): Milliseconds =>
  sweepIntervalMs(messagesMs / 10);

export class CatalogueSweep {
  private readonly catalogue: string;
  private cancel: Cancel;
  private isClosed = false;

  constructor(
    private readonly connection: ValkeyConnection,
    private readonly names: KeyNames,
    private readonly clock: Clock,
    private readonly logger: Logger,
    private readonly intervalMs: Milliseconds,
    private readonly messagesMs: Milliseconds,
  ) {
    this.catalogue = names.key(CATALOGUE);
    this.cancel = clock.after(intervalMs, () => void this.run());
  }

  close(): void {
    this.isClosed = true;
    this.cancel();
  }

  private async run(): Promise<void> {
    const client = this.connection.reads;
    try {
      if (client.status === 'ready' && (await this.isOurTurn(client))) {
        this.logger.debug('catalogue_swept', { entries: await this.sweep(client) });
      }
    } catch (error) {
      this.logger.debug('catalogue_sweep_failed', { error });
      if (fromSentCommand(error).reason === 'timeout') this.connection.reset(client);
    }
    if (!this.isClosed) this.cancel = this.clock.after(this.intervalMs, () => void this.run());
  }

  /** Every instance asks at its own times and one of them is first; the mark goes by itself, for the next round. */
  private async isOurTurn(client: Redis): Promise<boolean> {
    return (await client.set(`${this.catalogue}:sweep`, '1', 'PX', this.intervalMs, 'NX')) === 'OK';
  }

  /** From the newest entry to the oldest, so that the first one of a topic is the one to keep. Answers how many went. */
  private async sweep(client: Redis): Promise<number> {
    // Valkey's clock, since messages carry its time.
    const [seconds] = await client.time();
    const oldest = formatOffset(offsetAt(Math.max(0, Number(seconds) * 1000 - this.messagesMs)));
    const kept = new Set<TopicName>();
    let removed = 0;
    for (let from = '+'; ;) {
      const entries = await client.xrevrange(this.catalogue, from, '-', 'COUNT', PAGE);
      const listed = entries.flatMap(([id, fields]) => toListed(id, fields));
      const missing = await this.missing(client, listed, oldest);
      const gone: string[] = [];
      for (const { id, topic } of listed) {
        if (missing.has(topic) || kept.has(topic)) gone.push(id);
        else kept.add(topic);
      }
      if (gone.length > 0) removed += await client.xdel(this.catalogue, ...gone);
      const last = entries[entries.length - 1];
      if (last === undefined || entries.length < PAGE || this.isClosed) return removed;
      from = `(${last[0]}`;
    }
  }

  /**
   * Forgets messages that are too old (https://valkey.io/commands/xtrim/; exactly, so also a part of a block), and
   * answers the topics of which Valkey says that there is no stream; without an answer, none is missing.
   */
  private async missing(
    client: Redis,
    listed: readonly Listed[],
    oldest: string,
  ): Promise<ReadonlySet<TopicName>> {
    const pipeline = client.pipeline();
    for (const { topic } of listed) {
      const key = this.names.key(topicStream(topic));
      pipeline.xtrim(key, 'MINID', oldest).exists(key);
    }
    const replies = (await pipeline.exec()) ?? [];
    const missing = new Set<TopicName>();
    for (const [i, { topic }] of listed.entries()) {
      const [error, count] = replies[2 * i + 1] ?? [null, undefined];
      if (error !== null) throw error;
      if (count === 0) missing.add(topic);
    }
    return missing;
  }
}

const toListed = (id: string, fields: readonly string[]): readonly Listed[] => {
  const at = fields.indexOf('event');
  const event = decodeEvent(CATALOGUE, { body: fields[at + 1] ?? '', meta: '' });
  return at >= 0 && event?.type === 'TopicCreated' ? [{ id, topic: event.topic }] : [];
};
