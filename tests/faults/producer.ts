/**
 * A backend that publishes: one message or many at a time, with and without an Idempotency-Key. With a key it asks
 * again, at any proxy, until it knows; without one it asks once, as asking again could store it twice.
 */
import type { Answer, ItemResult } from '../support/client.js';
import { PUBLISH_KEY } from '../support/proxy.js';
import type { Random } from '../support/random.js';
import type { Publish } from './history.js';
import { ask, pause, type NoAnswer, type World } from './world.js';

export interface ProducerSettings {
  /** The longest pause between two requests. */
  readonly pauseMs: number;
  readonly topics: readonly string[];
  /** Bytes that each payload is longer than it has to be. */
  readonly padding: number;
}

const BULK_MAX = 12;
/** What a client does that is told to try again. */
const RETRY_MS = 100;
/** A producer whose message is never answered gives it up at last; the run has ended badly then, and says so. */
const RETRIES_MAX = 600;

interface Item {
  readonly topic: string;
  readonly payload: string;
  /** Undefined: without. */
  readonly key: string | undefined;
}

type Outcome = Pick<Publish, 'outcome' | 'messageId'>;

export class Producer {
  private published = 0;

  constructor(
    private readonly world: World,
    private readonly name: string,
    private readonly random: Random,
    private readonly settings: ProducerSettings,
  ) {}

  /** Publishes until it is told to stop, and until everything that it began is answered. */
  async run(): Promise<void> {
    const { random, settings } = this;
    while (this.world.isPublishing) {
      const isKeyed = random.chance(0.5);
      const items = Array.from({ length: random.chance(0.7) ? 1 : random.whole(2, BULK_MAX) }, () =>
        this.anItem(random.pick(settings.topics), isKeyed),
      );
      await this.publish(items);
      await pause(random.whole(0, settings.pauseMs));
    }
  }

  /** One message with a key, asked for until it is answered; answers its payload. */
  async publishOne(topic: string): Promise<string> {
    const item = this.anItem(topic, true);
    await this.publish([item]);
    return item.payload;
  }

  private anItem(topic: string, isKeyed: boolean): Item {
    const value = `${this.name}-${(this.published += 1)}`;
    const padding = this.settings.padding > 0 ? { padding: 'x'.repeat(this.settings.padding) } : {};
    return { topic, payload: JSON.stringify({ value, ...padding }), key: isKeyed ? value : undefined };
  }

  private async publish(items: readonly Item[]): Promise<void> {
    const { history } = this.world;
    const startedMs = history.nowMs();
    const settle = ({ topic, payload, key }: Item, outcome: Outcome): void => {
      const answeredMs = history.nowMs();
      history.publishes.push({ topic, payload, keyed: key !== undefined, startedMs, answeredMs, ...outcome });
    };
    let left = items;
    for (let retries = 0; left.length > 0; retries++) {
      const outcomes = await this.attempt(left);
      const unanswered: Item[] = [];
      left.forEach((item, i) => {
        const outcome = outcomes[i] ?? UNKNOWN;
        const isGivenUp = retries === RETRIES_MAX || this.world.mood === 'over';
        const isFinal = outcome.outcome === 'stored' || item.key === undefined || isGivenUp;
        if (isFinal) settle(item, outcome);
        else unanswered.push(item);
      });
      left = unanswered;
      if (left.length > 0 || outcomes.some(({ outcome }) => outcome !== 'stored')) await pause(RETRY_MS);
    }
  }

  /** One request at one proxy; an outcome for each item. */
  private async attempt(items: readonly Item[]): Promise<readonly Outcome[]> {
    const slot = this.world.anyProxy(this.random);
    if (slot === undefined) return items.map(() => NOT_STORED);
    const [only] = items;
    if (items.length > 1 || only === undefined) {
      const messages = items.map(({ topic, payload, key }) => {
        const once = key === undefined ? '' : `,"idempotency_key":${JSON.stringify(key)}`;
        return `{"topic":${JSON.stringify(topic)},"payload":${payload}${once}}`;
      });
      const body = `{"messages":[${messages.join(',')}]}`;
      const answer = await ask(this.world, slot, 'POST', '/api/v1/messages/bulk', {
        token: PUBLISH_KEY,
        body,
      });
      return this.outcomesOf(items, answer);
    }
    const headers = only.key === undefined ? {} : { 'idempotency-key': only.key };
    const body = `{"topic":${JSON.stringify(only.topic)},"payload":${only.payload}}`;
    const answer = await ask(this.world, slot, 'POST', '/api/v1/messages', {
      token: PUBLISH_KEY,
      body,
      headers,
    });
    if (typeof answer !== 'string' && answer.status === 201)
      return [{ ...STORED, messageId: answer.body.message_id }];
    return this.outcomesOf(items, answer);
  }

  private outcomesOf(items: readonly Item[], answer: Answer | NoAnswer): readonly Outcome[] {
    if (answer === 'refused') return items.map(() => NOT_STORED);
    if (answer === 'cut') return items.map(() => UNKNOWN);
    if (answer.status === 201 || answer.status === 207) {
      const { results } = answer.body;
      return items.map((_, i) => this.outcomeOf(results[i], answer.text));
    }
    const problem = answer.text.startsWith('{') ? answer.body : undefined;
    return items.map(() => this.outcomeOf(problem, answer.text));
  }

  private outcomeOf(result: ItemResult | undefined, text: string): Outcome {
    if (result?.message_id !== undefined) return { ...STORED, messageId: result.message_id };
    if (result?.outcome === 'unknown') return UNKNOWN;
    if (result?.outcome === 'not_stored' || REFUSALS.has(result?.code ?? '')) return NOT_STORED;
    this.world.surprise(`a publish was answered ${text.slice(0, 300)}`);
    return UNKNOWN;
  }
}

/** Codes that say by themselves that nothing was stored. */
const REFUSALS = new Set(['shutting_down', 'too_many_connections', 'storage_full']);

const STORED = { outcome: 'stored' } as const;
const UNKNOWN: Outcome = { outcome: 'unknown' };
const NOT_STORED: Outcome = { outcome: 'not_stored' };
